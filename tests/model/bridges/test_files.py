"""Names of bridges and their records; none of this needs open_clip."""

from pathlib import Path

import pytest

from anyseek.model.bridges.files import RECORD_FILE, BridgeRecord, bridges, default_name, folder_of, read_record
from anyseek.model.errors import UnknownModel, WeightsCorrupt, WeightsMissing
from anyseek.model.fourm.published.store import State
from anyseek.model.registry.installed import list_models
from anyseek.model.registry.loading import known_models

RECORD = BridgeRecord("openclip:local-dir:/nowhere", "a" * 64, "b" * 64, {"depth": 0.5}, {"rooms": "CC0"})


def _write(home: Path, name: str) -> Path:
    path = folder_of(name, home) / RECORD_FILE
    path.parent.mkdir(parents=True)
    path.write_text(RECORD.to_json())
    return path


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("photos", "bridge:photos"),
        ("openclip:ViT-B-32/laion2b_s34b_b79k", "bridge:ViT-B-32-laion2b_s34b_b79k"),
        ("openclip:local-dir:/models/mine", "bridge:mine"),
    ],
)
def test_a_bridge_is_named_after_its_model(base: str, name: str) -> None:
    assert default_name(base) == name


def test_other_models_have_no_bridge() -> None:
    with pytest.raises(UnknownModel, match="only open_clip models can"):
        default_name("4M-21_B")


@pytest.mark.parametrize("name", ["bridge:", "bridge:../up", "bridge:a/b", "bridge:.hidden", "photos"])
def test_a_name_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="bridge:NAME"):
        folder_of(name, tmp_path)


def test_what_is_there_is_listed_and_a_bridge_without_its_model_is_incomplete(tmp_path: Path) -> None:
    _write(tmp_path, "bridge:mine")
    assert bridges(tmp_path) == ("bridge:mine",)
    assert read_record("bridge:mine", tmp_path) == RECORD
    assert "bridge:mine" in known_models(tmp_path)
    row = list_models(tmp_path)[-1]
    assert (row.name, row.kind, row.state, row.fingerprint) == ("bridge:mine", "bridge", State.INCOMPLETE, "b" * 64)


def test_a_record_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="anyseek models adapt"):
        read_record("bridge:mine", tmp_path)
    path = _write(tmp_path, "bridge:mine")
    for text in ("{", "[]", '{"base": "a"}', '{"weights": 3}'):
        path.write_text(text)
        with pytest.raises(WeightsCorrupt, match=str(path)):
            read_record("bridge:mine", tmp_path)
    assert list_models(tmp_path)[-1].state is State.INCOMPLETE
