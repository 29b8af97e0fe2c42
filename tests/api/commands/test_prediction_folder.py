"""A target's folder is there whole or not at all, and never in place of something else."""

import hashlib
import json
from pathlib import Path

import pytest

from anyseek.api.commands.predict_output import RECORD, OutputTaken, check_free, write_folder
from anyseek.api.predictions.wire import Predicted, PredictedFile

MADE_WITH = {"model": "m", "options": {"seed": 1}}


def _predicted(data: bytes = b"one", name: str = "depth.png") -> Predicted:
    return Predicted("depth", None, (PredictedFile(name, "image/png", data), PredictedFile("depth.npy", "x", b"two")))


def _held(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_folder_holds_the_files_and_what_made_them(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "new" / "out", _predicted(), MADE_WITH, force=False)
    assert folder == tmp_path / "new" / "out" / "depth"
    assert (folder / "depth.png").read_bytes() == b"one"
    record = json.loads((folder / RECORD).read_text())
    assert record["modality"] == "depth"
    assert record["options"] == {"seed": 1}
    assert record["files"]["depth.npy"] == hashlib.sha256(b"two").hexdigest()
    assert [path.name for path in (tmp_path / "new" / "out").iterdir()] == ["depth"]


def test_a_prediction_is_replaced_only_with_force(tmp_path: Path) -> None:
    write_folder(tmp_path, _predicted(name="old.png"), MADE_WITH, force=False)
    with pytest.raises(OutputTaken, match="--force"):
        write_folder(tmp_path, _predicted(b"new"), MADE_WITH, force=False)
    write_folder(tmp_path, _predicted(b"new"), MADE_WITH, force=True)
    assert _held(tmp_path)["depth/depth.png"] == b"new"
    assert "depth/old.png" not in _held(tmp_path)


def test_foreign_folders_are_never_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "depth"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputTaken, match="not written by predict,"):
        write_folder(tmp_path, _predicted(), MADE_WITH, force=True)
    assert _held(tmp_path) == {"depth/thesis.txt": b"years of work"}
    (tmp_path / "link").symlink_to(mine)
    (tmp_path / "file").write_text("x")
    for target in ("link", "file"):
        for force in (True, False):
            with pytest.raises(OutputTaken):
                check_free(tmp_path, [target], force)
    with pytest.raises(OutputTaken, match="is a file"):
        check_free(tmp_path / "file", ["depth"], force=False)


def test_a_failure_midway_leaves_what_was_there(tmp_path: Path) -> None:
    write_folder(tmp_path, _predicted(), MADE_WITH, force=False)
    before = _held(tmp_path)
    with pytest.raises(OSError, match="name too long"):
        write_folder(tmp_path, _predicted(b"new", name="x" * 300), MADE_WITH, force=True)
    assert _held(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["depth"]
