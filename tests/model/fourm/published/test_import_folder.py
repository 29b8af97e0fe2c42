"""Importing what was fetched elsewhere, in the layouts in which it comes."""

import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anyseek.model.errors import CheckpointMismatch, UnknownModel, WeightsCorrupt, WeightsMissing
from anyseek.model.fourm.published import names
from anyseek.model.fourm.published.import_folder import import_folder
from anyseek.model.fourm.published.loading import load_published
from anyseek.model.fourm.published.store import (
    CONFIG_FILE,
    MODEL_FILE,
    State,
    folder_of,
    incoming_folder,
    installed,
    state_of,
)
from anyseek.model.network.config import ConfigInvalid
from tests.random_weights import SHARED_VOCABULARY

NETWORK, POSES = "4M-21_B", names.HUMAN_POSES


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty data directory."""
    return tmp_path / "home"


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    made = tmp_path / "fetched"
    made.mkdir()
    return made


def bring(name: str, source: Path, target: Path) -> None:
    """The weights of an installed checkpoint as a folder of its repository."""
    target.mkdir(parents=True)
    shutil.copyfile(folder_of(name, source) / MODEL_FILE, target / MODEL_FILE)


def take(folder: Path, home: Path, name: str | None = None) -> list[str]:
    return [record.name for record in import_folder(folder, home, lambda line: None, name)]


def test_folders_called_as_repositories(published_home: Path, fetched: Path, here: Path) -> None:
    bring(NETWORK, published_home, fetched / NETWORK)
    bring(POSES, published_home, fetched / "EPFL-VILAB" / POSES)
    (fetched / "photos").mkdir()
    assert sorted(take(fetched, here)) == [NETWORK, POSES]
    for name in (NETWORK, POSES):
        assert installed(name, here).fingerprint == installed(name, published_home).fingerprint
    assert load_published(NETWORK, here).parts.tokenizers.tokenizer(POSES).config.num_codebooks == 8


def test_one_folder_alone(published_home: Path, fetched: Path, here: Path) -> None:
    bring(POSES, published_home, fetched / POSES)
    assert take(fetched / POSES, here) == [POSES]


def test_a_folder_of_another_name_is_told_apart_by_an_option(published_home: Path, fetched: Path, here: Path) -> None:
    bring(POSES, published_home, fetched / "download")
    with pytest.raises(WeightsMissing, match="--name NAME"):
        take(fetched / "download", here)
    assert take(fetched / "download", here, f"EPFL-VILAB/{POSES}") == [POSES]
    with pytest.raises(UnknownModel, match="download"):
        take(fetched / "download", here, "download")


def test_the_cache_of_the_hub(published_home: Path, fetched: Path, here: Path) -> None:
    repository = fetched / f"models--EPFL-VILAB--{POSES}"
    blob = repository / "blobs" / "b10b"
    blob.parent.mkdir(parents=True)
    shutil.copyfile(folder_of(POSES, published_home) / MODEL_FILE, blob)
    for commit in ("0ld", "c0ffee"):
        (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / "c0ffee" / MODEL_FILE).symlink_to(blob)
    os.utime(repository / "snapshots" / "0ld")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c0ffee")
    assert take(fetched, here) == [POSES]
    assert not (folder_of(POSES, here) / MODEL_FILE).is_symlink()


def test_a_models_folder_of_another_installation(published_home: Path, fetched: Path, here: Path) -> None:
    made_up = shutil.ignore_patterns(*([] if SHARED_VOCABULARY.exists() else [names.VOCABULARY]))
    other = shutil.copytree(published_home / "models", fetched / "models", ignore=made_up, copy_function=os.link)
    taken = take(other, here)
    assert {NETWORK, names.SUPER_RESOLUTION, *names.published(NETWORK).needs} <= set(taken)
    assert (names.VOCABULARY in taken) == SHARED_VOCABULARY.exists()


@pytest.mark.skipif(not SHARED_VOCABULARY.exists(), reason="the published vocabulary is not here")
def test_the_vocabulary_alone(fetched: Path, here: Path) -> None:
    shutil.copyfile(SHARED_VOCABULARY, fetched / SHARED_VOCABULARY.name)
    assert take(fetched, here) == [names.VOCABULARY]
    assert take(fetched, here, names.VOCABULARY) == [names.VOCABULARY]


def test_another_vocabulary_is_refused(fetched: Path, here: Path) -> None:
    (fetched / f"{names.VOCABULARY}.json").write_text("{}")
    with pytest.raises(WeightsCorrupt, match="published vocabulary"):
        take(fetched, here)


def test_nothing_to_import_says_what_was_expected(fetched: Path, here: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"4M-21_B/model\.safetensors"):
        take(fetched, here)
    with pytest.raises(WeightsMissing, match=r"holds no published checkpoint"):
        take(fetched / "gone", here)


def test_all_are_checked_before_any_is_copied(published_home: Path, fetched: Path, here: Path) -> None:
    bring(POSES, published_home, fetched / NETWORK)
    bring(POSES, published_home, fetched / POSES)
    with pytest.raises(ConfigInvalid, match="domains_in"):
        take(fetched, here)
    assert not here.exists()


def test_a_misfit_names_the_tensors(published_home: Path, fetched: Path, here: Path) -> None:
    bring(POSES, published_home, fetched / POSES)
    path = fetched / POSES / MODEL_FILE
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    del tensors["quant_proj.bias"]
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointMismatch, match=r"missing quant_proj\.bias"):
        take(fetched, here)


def test_a_truncated_file_is_refused(published_home: Path, fetched: Path, here: Path) -> None:
    bring(POSES, published_home, fetched / POSES)
    with (fetched / POSES / MODEL_FILE).open("r+b") as file:
        file.truncate(50_000)
    with pytest.raises(WeightsCorrupt, match="not a complete safetensors file"):
        take(fetched, here)


@pytest.mark.parametrize(("text", "says"), [("[]", "must hold an object"), ("{", "not JSON")])
def test_a_malformed_config_file_is_named(
    text: str, says: str, published_home: Path, fetched: Path, here: Path
) -> None:
    bring(POSES, published_home, fetched / POSES)
    path = fetched / POSES / MODEL_FILE
    save_file(load_file(path), path)
    path.with_name(CONFIG_FILE).write_text(text)
    with pytest.raises(ConfigInvalid, match=says):
        take(fetched, here)


def test_a_config_file_may_hold_strings(published_home: Path, fetched: Path, here: Path) -> None:
    bring(POSES, published_home, fetched / POSES)
    path = fetched / POSES / MODEL_FILE
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, {"format": "pt"})
    path.with_name(CONFIG_FILE).write_text(json.dumps(metadata))
    assert take(fetched, here) == [POSES]
    assert set(installed(POSES, here).files) == {MODEL_FILE, CONFIG_FILE}


def test_what_becomes_of_the_source_does_not_matter(published_home: Path, fetched: Path, here: Path) -> None:
    bring(POSES, published_home, fetched / POSES)
    take(fetched, here)
    source = fetched / POSES / MODEL_FILE
    source.write_bytes(bytes(source.stat().st_size))
    copied = (folder_of(POSES, here) / MODEL_FILE).read_bytes()
    assert copied == (folder_of(POSES, published_home) / MODEL_FILE).read_bytes()


def test_what_an_interrupted_import_left_is_no_hindrance(published_home: Path, fetched: Path, here: Path) -> None:
    bring(POSES, published_home, fetched / POSES)
    left = incoming_folder(POSES, here)
    left.mkdir(parents=True)
    (left / MODEL_FILE).write_bytes(b"half")
    assert state_of(POSES, here) is State.INCOMPLETE
    assert take(fetched, here) == [POSES]
    assert not left.exists()
    assert take(fetched, here) == [POSES]  # once more is as good
