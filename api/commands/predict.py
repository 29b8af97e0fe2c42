"""`anyseek predict`: any modalities from any others, from one set of inputs or from each file of a folder.

Of a folder, FILE is a file's path below it: OUT/FILE/depth/depth.png …. What an earlier run wrote for the same inputs,
targets and options is left as it is, so a run that was killed goes on where it was.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from anyseek.api.client.client import Client
from anyseek.api.commands.inputs import finite, known_modality, read_input, with_forms, with_region
from anyseek.api.commands.output import say, say_over
from anyseek.api.commands.predict_output import (
    OutputTaken,
    check_free,
    has_same_record,
    prediction_members,
    summary,
    write_folder,
)
from anyseek.api.errors import WRONG_USAGE, ApiError, exit_code_of
from anyseek.api.predictions.wire import MAX_SEED, Input, Predictions
from anyseek.model.compute.devices import split_device
from anyseek.search.errors import BadInput

PARTLY = 1  # exit code where some of the targets were refused
_OPTIONS = ("seed", "steps", "guidance", "temperature", "top_p", "decoding_steps", "super_resolution", "points")
_BATCH_SIZE = 16  # files that are read and predicted from together

PredictBatch = Callable[[Sequence[Sequence[Input]]], list[Predictions | Exception]]


@dataclass(frozen=True)
class PredictionRun:
    """Settings of one `anyseek predict`: what is predicted, how, and where it goes.

    `device` is what the model's name said; it is no part of `model`, because predictions from any device are recorded
    as the model's. `read_as` has the forms and the box, which say how inputs are read.
    """

    targets: tuple[str, ...]
    model: str | None = None
    device: str | None = None
    options: Mapping[str, Any] | None = None
    read_as: Mapping[str, Any] | None = None
    out: Path = Path()
    force: bool = False
    as_json: bool = False

    def record(self, inputs: Sequence[str]) -> dict[str, Any]:
        """The record of how predictions were made, as in `prediction.json`, without the model."""
        how = {"targets": list(self.targets), "options": dict(self.options or {})}
        return {"inputs": list(inputs), **(self.read_as or {}), **how}


@dataclass(frozen=True)
class _Entry:
    """A set of inputs, and these as they are recorded; `name` is the file's path below its folder, else empty."""

    name: str
    inputs: tuple[Input, ...]
    written: tuple[str, ...]


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
@click.option(
    "--form",
    "forms",
    multiple=True,
    metavar="MODALITY=FORM",
    help="What a map's numbers mean, if not what Anyseek's do, such as depth=near-bright.",
)
@click.option(
    "--box",
    nargs=4,
    type=click.FloatRange(0, 1),
    metavar="LEFT TOP RIGHT BOTTOM",
    help="With --input rgb=FILE: the part of the picture to predict from, as fractions of its sides.",
)
@click.option("--model", metavar="NAME", help="The model, such as 4M-21_B; 4m-tiny by default.")
@click.option(
    "--text-weight", type=float, callback=finite, help="How closely to follow the words; a negative weight leads away."
)
@click.option("--seed", type=click.IntRange(0, MAX_SEED), help="The same seed gives the same result.  [default: 0]")
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
    forms: Sequence[str],
    box: tuple[float, ...] | None,
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

    If FILE is a folder, each file in it is predicted from on its own, many at once, and its targets go to
    OUT/FILE/TARGET. Files that cannot be predicted from are named, with exit code 1. Run it again to go on: it
    keeps what was predicted before in the same way.

    The service at ANYSEEK_URL predicts, or the running one if it serves that model, or else this process.
    """
    parts = with_region(with_forms([read_input(value, text_weight) for value in inputs], forms), box)
    name, device = (None, None) if model is None else split_device(model)
    run = PredictionRun(
        tuple(known_modality(target).name for target in targets),
        name,
        device,
        {option: options[option] for option in _OPTIONS if options[option] is not None},
        {how: value for how, value in (("forms", list(forms)), ("box", list(box or ()))) if value},
        out,
        force,
        as_json,
    )
    pending, is_whole = _pending_entries(run, _entries(parts, inputs, out))
    with open_predictor(run) as predict_batch:
        for start in range(0, len(pending), _BATCH_SIZE):
            batch = pending[start : start + _BATCH_SIZE]
            for entry, outcome in zip(batch, predict_batch([entry.inputs for entry in batch]), strict=True):
                is_whole &= _write(run, entry, outcome)
    return 0 if is_whole else PARTLY


def _entries(parts: Sequence[Input], written: Sequence[str], out: Path) -> list[_Entry]:
    """The inputs as they are, or once for each file of the folder among them. Raises `click.UsageError`.

    Hidden files are left out, and those that predictions are written to.
    """
    folders = [part.file for part in parts if part.file is not None and part.file.is_dir()]
    if not folders:
        return [_Entry("", tuple(parts), tuple(written))]
    if len(folders) > 1:
        raise click.UsageError(f"{folders[0]} and {folders[1]} are folders; only one input may be one")
    folder, entries = folders[0], []
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in below.parts)
        if is_hidden or not path.is_file() or path.resolve().is_relative_to(out.resolve()):
            continue
        chosen = tuple(replace(part, file=path) if part.file == folder else part for part in parts)
        texts = tuple(
            _input_text(part) if part.file == path else text for part, text in zip(chosen, written, strict=True)
        )
        entries.append(_Entry(str(below), chosen, texts))
    if not entries:
        raise click.UsageError(f"{folder} has no files to predict from")
    return entries


def _input_text(part: Input) -> str:
    return f"{part.modality}={part.file}" + ("" if part.weight is None else f":{part.weight:g}")


def _pending_entries(run: PredictionRun, entries: Sequence[_Entry]) -> tuple[list[_Entry], bool]:
    """The entries that are yet to be predicted from, and whether all of these can be written."""
    pending, is_whole, earlier = [], True, 0
    for entry in entries:
        folder, record = run.out / entry.name, run.record(entry.written)
        keeps = bool(entry.name) and not run.force
        missing = [name for name in run.targets if not (keeps and has_same_record(folder / name, record, run.model))]
        try:
            check_free(folder, missing, run.force)
        except OutputTaken as error:
            is_whole = _refuse(run, entry, error)
            continue
        if missing:
            pending.append(entry)
        else:
            earlier += 1
    if earlier:
        say(f"anyseek: {earlier} of {len(entries)} files were predicted before", err=True)
    return pending, is_whole


def _write(run: PredictionRun, entry: _Entry, outcome: Predictions | Exception) -> bool:
    """Write and tell of the predictions for one entry, or why there are none; False if any target is missing."""
    if isinstance(outcome, Exception):
        return _refuse(run, entry, outcome)
    out, record = run.out / entry.name, run.record(entry.written)
    model = run.model or outcome.model
    folders = [out / predicted.modality for predicted in outcome.predicted]
    try:
        for predicted, folder in zip(outcome.predicted, folders, strict=True):
            if run.force or not has_same_record(folder, record, model):
                write_folder(out, predicted, {"model": outcome.model, **record}, run.force)
    except OutputTaken as error:
        return _refuse(run, entry, error)
    file = {"file": entry.name} if entry.name else {}
    members = {**file, **prediction_members(outcome, folders)}
    say(*([json.dumps(members)] if run.as_json else summary(outcome, folders)))
    for refused in outcome.refused:
        say(f"anyseek: {entry.name}{': ' if entry.name else ''}{refused.detail}", err=True)
    return not outcome.refused


def _refuse(run: PredictionRun, entry: _Entry, error: Exception) -> bool:
    """Tell what is wrong with one file of a folder, and return False. Raises the error if there is no folder."""
    if not entry.name:
        raise error
    if run.as_json:
        say(json.dumps({"file": entry.name, "error": str(error)}))
    say(f"anyseek: {entry.name}: {error}", err=True)
    return False


@contextmanager
def open_predictor(run: PredictionRun) -> Iterator[PredictBatch]:
    """A function that predicts from several sets of inputs, in their order; one that is wrong gets its error in its
    place.

    A service does, or else the model in this process. Raises what concerns all of them.
    """
    from anyseek.api.client.connect import predicting_client
    from anyseek.search.settings import DEFAULT_MODEL

    default_model, device = split_device(os.environ.get("ANYSEEK_MODEL") or DEFAULT_MODEL)
    if run.model is not None:
        device = run.device
    # A service has a device of its own: whoever says another one means this process.
    with predicting_client(run.model) if device is None else nullcontext() as client:
        if client is not None:
            yield lambda batch: [_predict_remotely(client, run, inputs) for inputs in batch]
            return
    with _progress_line() as report:
        yield _local_predictor(run, report, default_model, device)


def _predict_remotely(client: Client, run: PredictionRun, inputs: Sequence[Input]) -> Predictions | Exception:
    """A service's answer, or why it refuses these inputs."""
    try:
        return client.predict(inputs, run.targets, run.model, run.options)
    except (ApiError, BadInput) as error:
        if exit_code_of(error) != WRONG_USAGE:
            raise
        return error


def _local_predictor(
    run: PredictionRun, report: Callable[[str, int, int], None], default_model: str, device: str | None
) -> PredictBatch:
    """The model in this process, loaded by the first that is asked; `usual` where none is named."""
    from anyseek.api.predictions.predictor import Predictor
    from anyseek.api.predictions.requests import read_request
    from anyseek.model.compute.threads import prepare_process
    from anyseek.search.settings import read_settings

    settings = read_settings()
    prepare_process(settings.threads)
    predictor = Predictor(settings.home, default_model, device=device or settings.device)

    def predict_batch(batch: Sequence[Sequence[Input]]) -> list[Predictions | Exception]:
        outcomes: dict[int, Predictions | Exception] = {}
        requests = {}
        for place, inputs in enumerate(batch):
            members = {"inputs": inputs, "targets": run.targets, "model": run.model, "options": run.options}
            try:
                requests[place] = read_request(members, settings.limits)
            except BadInput as error:
                outcomes[place] = error
        if requests:
            outcomes |= zip(requests, predictor.predict_batch(list(requests.values()), report), strict=True)
        return [outcomes[place] for place in range(len(batch))]

    return predict_batch


@contextmanager
def _progress_line() -> Iterator[Callable[[str, int, int], None]]:
    """Progress on stderr: one changing line if that is a terminal, else a line at each start of something."""
    is_terminal, last = sys.stderr.isatty(), ""

    def report(what: str, done: int, of: int) -> None:
        nonlocal last
        if is_terminal:
            say_over(f"{what}: {done} of {of}")
        elif what != last:
            say(f"predicting {what}", err=True)
        last = what

    try:
        yield report
    finally:
        if is_terminal and last:
            say_over("")
