"""The list of all models, read without loading any."""

from pathlib import Path

from anyseek.model.encoders.pull import SOURCES, encoders_folder
from anyseek.model.fourm.bundled.bundle import load_bundle
from anyseek.model.fourm.published.names import PUBLISHED, VOCABULARY
from anyseek.model.fourm.published.store import State, folder_of, incoming_folder
from anyseek.model.library.installed import ENCODER_FILES, list_models


def test_nothing_is_installed_in_an_empty_home(tmp_path: Path) -> None:
    rows = {row.name: row for row in list_models(tmp_path)}
    assert list(rows) == ["4m-tiny", "4m-tiny-open", "hashing", "encoders", *PUBLISHED, VOCABULARY]
    assert {rows[name].state for name in PUBLISHED} == {State.MISSING}
    assert rows["4m-tiny"].state is State.INCOMPLETE  # it needs the encoders
    assert rows["4M-21_XL"].licence == "non-commercial"


def test_the_bundled_model_is_complete_with_its_encoders(tmp_path: Path) -> None:
    assert {source.target for source in SOURCES} == set(ENCODER_FILES)
    encoders_folder(tmp_path).mkdir(parents=True)
    for file in (*ENCODER_FILES, "manifest.json"):
        (encoders_folder(tmp_path) / file).write_bytes(b"1")
    tiny, _, encoders = list_models(tmp_path)[:3]
    assert (tiny.state, encoders.state) == (State.INSTALLED, State.INSTALLED)
    assert tiny.fingerprint == load_bundle("4m-tiny").fingerprint


def test_what_was_begun_is_incomplete(tmp_path: Path) -> None:
    folder_of("4M-21_B", tmp_path).mkdir(parents=True)
    (folder_of("4M-21_B", tmp_path) / "model.safetensors").write_bytes(b"by hand")
    incoming_folder("4M-21_L", tmp_path).mkdir(parents=True)
    (incoming_folder("4M-21_L", tmp_path) / "model.safetensors.part").write_bytes(b"interrupted")
    incoming_folder("4M-21_XL", tmp_path).mkdir(parents=True)
    rows = {row.name: row.state for row in list_models(tmp_path)}
    assert [rows[f"4M-21_{size}"] for size in ("B", "L", "XL")] == [
        State.INCOMPLETE,
        State.INCOMPLETE,
        State.MISSING,
    ]
