"""What `anyseek predict` writes and prints. Each target gets a folder, which appears complete or not at all.

OUT/depth/depth.png depth.npy depth.preview.png prediction.json
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from anyseek.api.predictions.wire import Predicted, PredictedFile, Predictions
from anyseek.indexer.paths import one_line
from anyseek.model.files import whole_folder
from anyseek.search.errors import BadInput

_MOST_GUESSES = 3
_LONGEST_SUMMARY = 80
RECORD = "prediction.json"  # records how a target's folder was made; a folder that has it may be replaced


class ProgressLine:
    """Progress on stderr: one changing line if that is a terminal, else a line at each start of something."""

    def __init__(self) -> None:
        self._changing = sys.stderr.isatty()
        self._what: str | None = None

    def show(self, what: str, done: int, of: int) -> None:
        """Show that `done` of `of` steps of something are done."""
        if self._changing:
            click.echo(f"\r\033[K{what}: {done} of {of}", nl=False, err=True)
        elif what != self._what:
            click.echo(f"predicting {what}", err=True)
        self._what = what

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *error: object) -> None:
        if self._changing and self._what is not None:
            click.echo("\r\033[K", nl=False, err=True)


def prediction_members(found: Predictions, folders: Sequence[Path]) -> dict[str, Any]:
    """What `--json` prints of predictions and the folders that they were written to."""
    predictions = [
        {
            "modality": prediction.modality,
            "value": prediction.value,
            "confidence": prediction.confidence,
            "sure": prediction.sure,
            "guesses": [{"text": guess.text, "probability": guess.probability} for guess in prediction.guesses],
            "folder": str(folder),
            "files": [file.name for file in prediction.files],
        }
        for prediction, folder in zip(found.predicted, folders, strict=True)
    ]
    refused = [{"modality": refusal.modality, "detail": refusal.detail} for refusal in found.refused]
    return {"model": found.model, "predictions": predictions, "refused": refused}


def summary(found: Predictions, folders: Sequence[Path]) -> str:
    """A line for each target: what was predicted, and where it is."""
    width = max(len(prediction.modality) for prediction in found.predicted)
    rows = [
        f"{prediction.modality:<{width}}  {folder}: {_file_names(prediction)}{_brief(prediction)}"
        for prediction, folder in zip(found.predicted, folders, strict=True)
    ]
    return "\n".join(rows)


def _file_names(prediction: Predicted) -> str:
    return ", ".join(file.name for file in prediction.files)


def _brief(prediction: Predicted) -> str:
    """A short value itself, such as a caption or a palette, and how sure it is."""
    if prediction.sure is False:
        return f"  not sure; {_guessed(prediction)}"
    if prediction.value in ("", [], {}):
        return "  (empty)"
    entries = [prediction.value] if isinstance(prediction.value, str) else prediction.value
    if not isinstance(entries, list) or not isinstance(entries[0], str):
        return ""
    shown = one_line(" ".join(entries))
    certainty = "" if prediction.confidence is None else f" ({prediction.confidence:.0%} sure)"
    return f"  {shown[:_LONGEST_SUMMARY]}{'…' if len(shown) > _LONGEST_SUMMARY else ''}{certainty}"


def _guessed(prediction: Predicted) -> str:
    """What the picture may show, with how likely each is."""
    first = [(prediction.value, prediction.confidence)] if prediction.value else []
    likely = [*first, *((guess.text, guess.probability) for guess in prediction.guesses)]
    likely.sort(key=lambda guess: -(guess[1] or 0))
    told = ", ".join(
        f"{one_line(text)[:_LONGEST_SUMMARY]} ({share or 0:.0%})" for text, share in likely[:_MOST_GUESSES]
    )
    return f"perhaps: {told}" if told else "no guess"


class OutputTaken(BadInput):
    """A target's folder exists already, or must not be replaced."""

    code = "output-taken"


def check_free(out: Path, targets: Sequence[str], replace: bool) -> None:
    """Raises `OutputTaken` if a target's folder exists; with `replace`, only if it is not a prediction."""
    if out.exists() and not out.is_dir():
        raise OutputTaken(f"{out} is a file; --out needs a folder")
    for folder in (out / target for target in targets):
        if not folder.exists() and not folder.is_symlink():
            continue
        if not replace:
            raise OutputTaken(f"{folder} already exists; choose another --out, or replace it with --force")
        if folder.is_symlink() or not (folder / RECORD).is_file():
            raise OutputTaken(f"{folder} was not written by predict, so it is not replaced; choose another --out")


def write_folder(out: Path, predicted: Predicted, made_with: Mapping[str, Any], replace: bool) -> Path:
    """Write one target's files and its record to a temporary folder, move it into place, and return it.

    Raises `OutputTaken`, OSError. If anything fails, the previous folder is unchanged.
    """
    check_free(out, [predicted.modality], replace)
    folder = out / predicted.modality
    with whole_folder(folder) as new:
        for file in (*predicted.files, _record(predicted, made_with)):
            (new / file.name).write_bytes(file.data)
    return folder


def _record(predicted: Predicted, made_with: Mapping[str, Any]) -> PredictedFile:
    files = {file.name: hashlib.sha256(file.data).hexdigest() for file in predicted.files}
    members = {"modality": predicted.modality, **made_with, "files": files}
    if predicted.confidence is not None:
        members |= {"confidence": predicted.confidence, "sure": predicted.sure}
    return PredictedFile(RECORD, "application/json", f"{json.dumps(members, indent=1)}\n".encode())
