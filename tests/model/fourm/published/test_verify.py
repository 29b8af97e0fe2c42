"""Verifying an installed set, and sets that are not as they should be."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anyseek.model.errors import UnknownModel
from anyseek.model.fourm.published import names
from anyseek.model.fourm.published.store import MODEL_FILE, RECORD_FILE, Record, describe, folder_of, write_record
from anyseek.model.registry import verification
from anyseek.model.registry.verification import verify_model, verify_published

POSES = names.HUMAN_POSES


@pytest.fixture
def home(published_home: Path, tmp_path: Path) -> Path:
    """A data directory with the tokenizer of poses."""
    shutil.copytree(folder_of(POSES, published_home), folder_of(POSES, tmp_path))
    return tmp_path


def test_a_complete_network_is_right(published_home: Path) -> None:
    said: list[str] = []
    assert verify_published("4M-21_B", published_home, said.append) == []
    row = names.published("4M-21_B")
    assert [line.split()[0] for line in said] == [row.name, *row.needs, names.VOCABULARY]
    assert all(line.split()[1] == "right" for line in said)


def test_what_is_missing_is_named(home: Path) -> None:
    complaints = verify_published("EPFL-VILAB/4M-21_B", home, lambda line: None)
    assert len(complaints) == 13
    assert complaints[0] == "4M-21_B is not installed; run `anyseek models pull 4M-21_B`"


def test_one_changed_byte_is_found(home: Path) -> None:
    path = folder_of(POSES, home) / MODEL_FILE
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    (complaint,) = verify_published(POSES, home, lambda line: None)
    assert "as when it was installed" in complaint
    assert str(path) in complaint


def test_numbers_that_are_not_finite_are_found(home: Path) -> None:
    path = folder_of(POSES, home) / MODEL_FILE
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["decoder.linear_out.bias"].fill_(torch.nan)
    save_file(tensors, path, metadata)
    write_record(Record(POSES, "test", {MODEL_FILE: describe(path)}), folder_of(POSES, home))
    (complaint,) = verify_published(POSES, home, lambda line: None)
    assert complaint == f"the tensor decoder.linear_out.bias of {POSES} holds numbers that are not finite"


def test_a_record_that_cannot_be_read_is_named(home: Path) -> None:
    (folder_of(POSES, home) / RECORD_FILE).write_text("{}")
    (complaint,) = verify_published(POSES, home, lambda line: None)
    assert "is not a record of installed weights" in complaint


def test_models_that_are_not_published_are_verified_too(tmp_path: Path) -> None:
    said: list[str] = []
    assert verify_model("hashing", tmp_path, said.append) == []
    assert said[0].startswith("hashing  right  fingerprint ")
    for name in ("4m-tiny", "encoders"):
        (complaint,) = verify_model(name, tmp_path, said.append)
        assert "anyseek models pull encoders" in complaint
    with pytest.raises(UnknownModel, match="nothing"):
        verify_model("nothing", tmp_path, said.append)


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that are tried, of which none is predicted, since that takes long."""
    tried: list[str] = []
    monkeypatch.setattr(verification, "predict", lambda given, targets, model: tried.extend(set(targets) - set(given)))
    return tried


def test_a_network_with_options_is_verified_with_its_owner_or_without(
    published_home: Path, predicted: list[str]
) -> None:
    """Inputs that have no trial, such as maps of another network, are told; each target is from something else."""
    said: list[str] = []
    assert verify_model(f"{names.OWNER}/4M-21_B:dtype=bfloat16", published_home, said.append) == []
    (line,) = said
    assert line.startswith("4M-21_B:dtype=bfloat16  right  fingerprint ")
    assert "not tried clip, dinov2," in line
    assert {"rgb", "depth"} <= set(predicted)


def test_one_changed_byte_is_found_behind_a_name_with_options(
    published_home: Path, predicted: list[str], tmp_path: Path
) -> None:
    """The byte is of a tokenizer whose numbers stay finite, so that running it says nothing."""
    for needed in (names.VOCABULARY, "4M-21_B", *names.published("4M-21_B").needs):
        shutil.copytree(folder_of(needed, published_home), folder_of(needed, tmp_path))
    path = folder_of(POSES, tmp_path) / MODEL_FILE
    data = bytearray(path.read_bytes())
    data[-4] ^= 1  # the lowest bit of the last number
    path.write_bytes(data)
    (complaint,) = verify_model("4M-21_B:dtype=bfloat16", tmp_path, lambda line: None)
    assert complaint.startswith(f"{path} is not as when it was installed")
