"""Output of `anyseek predict`. Each target gets a folder, which is written atomically.

OUT/depth/depth.png depth.npy depth.preview.png prediction.json
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from anyseek.api.predictions.wire import Predicted, Predictions
from anyseek.indexer.paths import one_line
from anyseek.model.files import atomic_folder
from anyseek.search.errors import BadInput

_MAX_GUESSES = 3
_MAX_SUMMARY_LENGTH = 80
RECORD = "prediction.json"  # records how a target's folder was made; a folder that has it may be replaced


def prediction_members(outcome: Predictions, folders: Sequence[Path]) -> dict[str, Any]:
    """The JSON object that `--json` prints: the predictions, with the folders they were written to."""
    predictions = [
        asdict(replace(prediction, files=()))
        | {"folder": str(folder), "files": [file.name for file in prediction.files]}
        for prediction, folder in zip(outcome.predicted, folders, strict=True)
    ]
    return {
        "model": outcome.model,
        "predictions": predictions,
        "refused": [asdict(refusal) for refusal in outcome.refused],
    }


def summary(outcome: Predictions, folders: Sequence[Path]) -> list[str]:
    """A line for each target: what was predicted, and where it is."""
    width = max(len(prediction.modality) for prediction in outcome.predicted)
    rows = []
    for prediction, folder in zip(outcome.predicted, folders, strict=True):
        files = ", ".join(file.name for file in prediction.files)
        rows.append(f"{prediction.modality:<{width}}  {folder}: {files}{_brief(prediction)}")
    return rows


def _brief(prediction: Predicted) -> str:
    """A short value, such as a caption or a palette, with its confidence; empty for other values."""
    if prediction.sure is False:
        first = [(prediction.value, prediction.confidence)] if prediction.value else []
        likely = [*first, *((guess.text, guess.probability) for guess in prediction.guesses)]
        likely.sort(key=lambda guess: -(guess[1] or 0))
        texts = [f"{one_line(text)[:_MAX_SUMMARY_LENGTH]} ({share or 0:.0%})" for text, share in likely[:_MAX_GUESSES]]
        return f"  not sure; perhaps: {', '.join(texts)}" if texts else "  not sure; no guess"
    if prediction.value in ("", [], {}):
        return "  (empty)"
    entries = [prediction.value] if isinstance(prediction.value, str) else prediction.value
    if not isinstance(entries, list) or not isinstance(entries[0], str):
        return ""
    shown = one_line(" ".join(entries))
    certainty = "" if prediction.confidence is None else f" ({prediction.confidence:.0%} sure)"
    return f"  {shown[:_MAX_SUMMARY_LENGTH]}{'…' if len(shown) > _MAX_SUMMARY_LENGTH else ''}{certainty}"


def has_same_record(folder: Path, record: Mapping[str, object], model: str | None) -> bool:
    """Whether a target's folder has a record with these members, and with a model that `model` may name."""
    from anyseek.model.fourm.published.names import may_answer

    try:
        existing = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(existing, dict) or any(existing.get(name) != value for name, value in record.items()):
        return False
    return model is None or may_answer(str(existing.get("model")), model)


class OutputTaken(BadInput):
    """A target's folder exists already, or must not be replaced."""

    code = "output-taken"


def check_free(out: Path, targets: Sequence[str], force: bool) -> None:
    """Raises `OutputTaken` if a target's folder exists; with `force`, only if it is not a prediction."""
    if out.exists() and not out.is_dir():
        raise OutputTaken(f"{out} is a file; --out needs a folder")
    for folder in (out / target for target in targets):
        if not folder.exists() and not folder.is_symlink():
            continue
        if not force:
            raise OutputTaken(f"{folder} already exists; choose another --out, or replace it with --force")
        if folder.is_symlink() or not (folder / RECORD).is_file():
            raise OutputTaken(f"{folder} was not written by predict, so it is not replaced; choose another --out")


def write_folder(out: Path, predicted: Predicted, provenance: Mapping[str, Any], force: bool) -> Path:
    """Write one target's files and its record to a temporary folder, move it into place, and return it.

    Raises `OutputTaken`, OSError. If anything fails, the previous folder is unchanged.
    """
    check_free(out, [predicted.modality], force)
    members = {"modality": predicted.modality, **provenance}
    members["files"] = {file.name: hashlib.sha256(file.data).hexdigest() for file in predicted.files}
    if predicted.confidence is not None:
        members |= {"confidence": predicted.confidence, "sure": predicted.sure}
    folder = out / predicted.modality
    with atomic_folder(folder) as new:
        for file in predicted.files:
            (new / file.name).write_bytes(file.data)
        (new / RECORD).write_text(f"{json.dumps(members, indent=1)}\n", "utf-8")
    return folder
