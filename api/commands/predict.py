"""`anyseek predict`: any modalities from any others. Each target gets a folder, which appears complete or not at all.

OUT/depth/depth.png depth.npy depth.preview.png prediction.json
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from api.commands.inputs import finite, known_modality, read_input
from api.predictions.wire import LARGEST_SEED, Input, Predicted, PredictedFile, Predictions
from indexer.paths import one_line
from model.files import whole_folder
from search.errors import BadInput

PARTLY = 1  # exit code where some of the targets were refused
_OPTIONS = ("seed", "steps", "guidance", "temperature", "top_p", "decoding_steps", "super_resolution", "points")
_MOST_GUESSES = 3
_LONGEST_SUMMARY = 80
RECORD = "prediction.json"  # records how a target's folder was made; a folder that has it may be replaced


@click.command()
@click.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    metavar="MODALITY=FILE",
    help="An input; repeat for each modality.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    required=True,
    metavar="MODALITY",
    help="A modality to predict; may be repeated.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder to write to; each target gets a folder in it.",
)
@click.option("--model", metavar="NAME", help="The model, such as 4M-21_B; 4m-tiny by default.")
@click.option(
    "--text-weight", type=float, callback=finite, help="How closely to follow the words; a negative weight leads away."
)
@click.option("--seed", type=click.IntRange(0, LARGEST_SEED), help="The same seed gives the same result.  [default: 0]")
@click.option("--steps", type=click.IntRange(1), help="In how many steps the tokens of a picture or map are decoded.")
@click.option(
    "--guidance", type=float, callback=finite, help="1 is as trained; a larger value follows the inputs more closely."
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    callback=finite,
    help="The temperature of sampling; 0 takes the likeliest tokens.",
)
@click.option(
    "--top-p", type=click.FloatRange(0, 1), help="Draw only from the likeliest tokens that add up to this probability."
)
@click.option(
    "--decoding-steps", type=click.IntRange(1, 1000), help="Steps of the diffusion that makes pixels.  [default: 25]"
)
@click.option(
    "--super-resolution", is_flag=True, default=None, help="Predict 448 instead of 224 pixels, with 4M-7-SR_L_CC12M."
)
@click.option("--points", type=click.IntRange(0, 32), help="Predict sam_instance for N x N points of the picture.")
@click.option("--force", is_flag=True, help="Replace predictions that are already in the folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
def predict(
    inputs: Sequence[str],
    targets: Sequence[str],
    out: Path,
    model: str | None,
    text_weight: float | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Predict modalities from others: depth, normals, segmentation, captions, palettes, boxes and more.

    An input is `MODALITY=FILE`. Words, colours and JSON may replace the file, as in `caption=a red bus`. FILE may end
    in a weight, as in `rgb=photo.jpg:0.7`, which says how closely to follow the input; a negative weight leads away.
    Targets are predicted in their order, and each sees those before it.

    The service at ANYSEEK_URL predicts, or the running one if it serves that model, or else this process.
    """
    given = [read_input(value, text_weight) for value in inputs]
    wanted = [known_modality(name).name for name in targets]
    check_free(out, wanted, force)
    asked = {name: options[name] for name in _OPTIONS if options[name] is not None}
    found = _predict(given, wanted, model, asked)
    made_with = {"model": found.model, "inputs": list(inputs), "targets": wanted, "options": asked}
    folders = [write_folder(out, prediction, made_with, force) for prediction in found.predicted]
    click.echo(_as_json(found, folders) if as_json else _summary(found, folders))
    for refused in found.refused:
        click.echo(f"anyseek: {refused.detail}", err=True)
    return PARTLY if found.refused else 0


def _predict(
    inputs: Sequence[Input], targets: Sequence[str], model: str | None, options: Mapping[str, Any]
) -> Predictions:
    from api.connect import predicting_client

    with predicting_client(model) as client:
        if client is not None:
            return client.predict(inputs, targets, model, options)
    from api.predictions.conversion import read_request
    from api.predictions.predictor import Predictor
    from search.settings import DEFAULT_MODEL, read_settings

    settings = read_settings()
    members = {"inputs": inputs, "targets": targets, "model": model, "options": options}
    predictor = Predictor(settings.home, os.environ.get("ANYSEEK_MODEL") or DEFAULT_MODEL)
    with ProgressLine() as line:
        return predictor.predict(read_request(members, settings.limits), line.show)


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


def _as_json(found: Predictions, folders: Sequence[Path]) -> str:
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
    return json.dumps({"model": found.model, "predictions": predictions, "refused": refused})


def _summary(found: Predictions, folders: Sequence[Path]) -> str:
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
