"""Where predictions go: one folder for each target, there whole or not at all.

    OUT/depth/depth.png depth.npy depth.preview.png prediction.json

`prediction.json` says what the folder was made with, and that it may be replaced by another prediction.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from api.prediction_wire import Predicted, PredictedFile
from search.errors import BadInput

RECORD = "prediction.json"


class OutputTaken(BadInput):
    """A target's folder is there already, or is not one that may be replaced."""

    code = "output-taken"


def check_free(out: Path, targets: Sequence[str], replace: bool) -> None:
    """Raises `OutputTaken` where a target's folder is there: any one, or with `replace` one that is no prediction."""
    if out.exists() and not out.is_dir():
        raise OutputTaken(f"{out} is a file; --out needs a folder")
    for folder in (out / target for target in targets):
        if not folder.exists() and not folder.is_symlink():
            continue
        if not replace:
            raise OutputTaken(f"{folder} is there already; choose another --out, or replace it with --force")
        if folder.is_symlink() or not (folder / RECORD).is_file():
            raise OutputTaken(f"{folder} is no folder that predict wrote, so it is not replaced; choose another --out")


def write_folder(out: Path, predicted: Predicted, made_with: Mapping[str, Any], replace: bool) -> Path:
    """Write one target's files and its record beside, then move them into place; give the folder.

    Raises `OutputTaken`, OSError. Whatever fails, what was there before is still there.
    """
    check_free(out, [predicted.modality], replace)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".predict-", dir=out) as scratch:
        new, folder = Path(scratch) / "new", out / predicted.modality
        new.mkdir()
        for file in (*predicted.files, _record(predicted, made_with)):
            (new / file.name).write_bytes(file.data)
        _move(new, folder, Path(scratch) / "old")
    return folder


def _move(new: Path, folder: Path, old: Path) -> None:
    replaced = folder.exists()
    if replaced:
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if replaced:
            old.rename(folder)
        raise


def _record(predicted: Predicted, made_with: Mapping[str, Any]) -> PredictedFile:
    files = {file.name: hashlib.sha256(file.data).hexdigest() for file in predicted.files}
    members = {"modality": predicted.modality, **made_with, "files": files}
    return PredictedFile(RECORD, "application/json", f"{json.dumps(members, indent=1)}\n".encode())
