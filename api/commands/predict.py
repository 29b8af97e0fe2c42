"""`anyseek predict`: any modalities from any others, as files."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from api.commands.inputs import known_modality, read_input
from api.commands.prediction_folder import check_free, write_folder
from api.prediction_wire import Input, Predicted, Predictions
from indexer.paths import one_line

PARTLY = 1  # exit code where some of the targets were refused
LARGEST_SEED = 2**32 - 1
_OPTIONS = ("seed", "steps", "guidance", "temperature", "top_p", "decoding_steps", "super_resolution", "points")
_LONGEST_SUMMARY = 80


def _finite(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


@click.command()
@click.option("--input", "inputs", multiple=True, required=True, metavar="MODALITY=FILE", help="What is given.")
@click.option("--target", "targets", multiple=True, required=True, metavar="MODALITY", help="What is wanted.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for a folder of each target.")
@click.option("--model", metavar="NAME", help="Such as 4M-21_B; 4m-tiny unless given.")
@click.option("--text-weight", type=float, callback=_finite, help="How far to follow the words; negative leads away.")
@click.option("--seed", type=click.IntRange(0, LARGEST_SEED), help="The same seed, the same result.  [default: 0]")
@click.option("--steps", type=click.IntRange(1), help="In how many steps the tokens of a picture or map are decoded.")
@click.option("--guidance", type=float, callback=_finite, help="1 as trained; more follows the inputs closer.")
@click.option("--temperature", type=click.FloatRange(0), callback=_finite, help="0 takes the likeliest tokens.")
@click.option("--top-p", type=click.FloatRange(0, 1), help="Draw from the likeliest tokens of this probability.")
@click.option("--decoding-steps", type=click.IntRange(1, 1000), help="Of the diffusion to pixels.  [default: 25]")
@click.option("--super-resolution", is_flag=True, default=None, help="448 instead of 224 pixels, with 4M-7-SR_L_CC12M.")
@click.option("--points", type=click.IntRange(0, 32), help="Ask for sam_instance at N x N points of the picture.")
@click.option("--force", is_flag=True, help="Replace predictions that are in the folder already.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
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

    An input is `MODALITY=FILE`; words, colours and JSON may stand there themselves, as in `caption=a red bus`. FILE
    may end in a weight, as in `rgb=photo.jpg:0.7`: how far to follow it, negative leads away. Targets are predicted in
    their order, and each sees those before it.

    The service at ANYSEEK_URL predicts, or the running one if it serves that model, else this process.
    """
    given = [read_input(value, text_weight) for value in inputs]
    wanted = [known_modality(name).name for name in targets]
    check_free(out, wanted, force)
    asked = {name: options[name] for name in _OPTIONS if options[name] is not None}
    found = _predict(given, wanted, model, asked)
    made_with = {"model": found.model, "inputs": list(inputs), "targets": wanted, "options": asked}
    folders = [write_folder(out, one, made_with, force) for one in found.predicted]
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
    from api.predicting import Predictor
    from api.prediction_requests import request_from_json
    from api.prediction_wire import prediction_body
    from search.settings import DEFAULT_MODEL, read_settings

    settings = read_settings()
    body = prediction_body(inputs, targets, model, options, settings.limits)
    predictor = Predictor(settings.home, os.environ.get("ANYSEEK_MODEL") or DEFAULT_MODEL)
    with ProgressLine() as line:
        return predictor.predict(request_from_json(body, settings.limits), line.show)


class ProgressLine:
    """Progress on stderr: one line that changes if that is a terminal, else a line for each thing that is begun."""

    def __init__(self) -> None:
        self._changing = sys.stderr.isatty()
        self._what: str | None = None

    def show(self, what: str, done: int, of: int) -> None:
        """Say that `done` steps of `of` of something are done."""
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
            "modality": one.modality,
            "value": one.value,
            "folder": str(folder),
            "files": [file.name for file in one.files],
        }
        for one, folder in zip(found.predicted, folders, strict=True)
    ]
    refused = [{"modality": one.modality, "detail": one.detail} for one in found.refused]
    return json.dumps({"model": found.model, "predictions": predictions, "refused": refused})


def _summary(found: Predictions, folders: Sequence[Path]) -> str:
    """A line for each target: what was predicted, and where it is."""
    width = max(len(one.modality) for one in found.predicted)
    rows = [
        f"{one.modality:<{width}}  {folder}: {', '.join(file.name for file in one.files)}{_brief(one)}"
        for one, folder in zip(found.predicted, folders, strict=True)
    ]
    return "\n".join(rows)


def _brief(one: Predicted) -> str:
    """A short value itself, such as a caption or a palette."""
    if one.value in ("", [], {}):
        return "  (empty)"
    entries = [one.value] if isinstance(one.value, str) else one.value
    if not isinstance(entries, list) or not isinstance(entries[0], str):
        return ""
    shown = one_line(" ".join(entries))
    return f"  {shown[:_LONGEST_SUMMARY]}{'…' if len(shown) > _LONGEST_SUMMARY else ''}"
