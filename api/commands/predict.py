"""`anyseek predict`: predict modalities from others, for one set of inputs or for each file of a folder.

For a folder, the predictions are OUT/FILE/depth/depth.png …, FILE being relative to it. What an earlier run wrote for
the same inputs, targets and options is kept, so a killed run can be resumed.
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
_BATCH_SIZE = 16  # files

PredictBatch = Callable[[Sequence[Sequence[Input]]], list[Predictions | Exception]]


@dataclass(frozen=True)
class PredictionRun:
    """The settings of one `anyseek predict`.

    `device` is split from the model's name, because the record of a prediction does not depend on it. `read_as` has the
    forms and the box, which say how inputs are read.
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
        outputs = {"targets": list(self.targets), "options": dict(self.options or {})}
        return {"inputs": list(inputs), **(self.read_as or {}), **outputs}


@dataclass(frozen=True)
class _Entry:
    """A set of inputs, with their texts for the record; `name` is the file's path in its folder, else empty."""

    name: str
    inputs: tuple[Input, ...]
    texts: tuple[str, ...]


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
    help="What a map's numbers mean, if it is no map of Anyseek, such as depth=near-bright.",
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
@click.option("--steps", type=click.IntRange(1), help="The number of steps that decode the tokens of a picture or map.")
@click.option(
    "--guidance", type=float, callback=finite, help="Guidance scale; 1 is as trained, above it follows the inputs more."
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
    "--decoding-steps",
    type=click.IntRange(1, 1000),
    help="The number of diffusion steps that make pixels.  [default: 25]",
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

    If FILE is a folder, the targets are predicted for each file in it, in batches, and written to OUT/FILE/TARGET.
    Files that fail are reported, with exit code 1. Run the command again to resume: it keeps what was predicted before
    from the same inputs with the same options.

    The service at ANYSEEK_URL predicts, or the running one if it serves that model, or else this process.
    """
    parts = with_region(with_forms([read_input(value, text_weight) for value in inputs], forms), box)
    model_name, device = (None, None) if model is None else split_device(model)
    run = PredictionRun(
        tuple(known_modality(target).name for target in targets),
        model_name,
        device,
        {option: options[option] for option in _OPTIONS if options[option] is not None},
        {name: value for name, value in (("forms", list(forms)), ("box", list(box or ()))) if value},
        out,
        force,
        as_json,
    )
    pending, is_complete = _pending_entries(run, _entries(parts, inputs, out))
    with open_predictor(run) as predict_batch:
        for start in range(0, len(pending), _BATCH_SIZE):
            batch = pending[start : start + _BATCH_SIZE]
            for entry, outcome in zip(batch, predict_batch([entry.inputs for entry in batch]), strict=True):
                is_complete &= _write(run, entry, outcome)
    return 0 if is_complete else PARTLY


def _entries(parts: Sequence[Input], texts: Sequence[str], out: Path) -> list[_Entry]:
    """One entry for the inputs, or one for each file of the folder among them. Raises `click.UsageError`.

    Hidden files, and files below `out`, are skipped.
    """
    folders = [part.file for part in parts if part.file is not None and part.file.is_dir()]
    if not folders:
        return [_Entry("", tuple(parts), tuple(texts))]
    if len(folders) > 1:
        raise click.UsageError(f"{folders[0]} and {folders[1]} are folders; only one input may be one")
    folder, entries = folders[0], []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in relative.parts)
        if is_hidden or not path.is_file() or path.resolve().is_relative_to(out.resolve()):
            continue
        inputs = tuple(replace(part, file=path) if part.file == folder else part for part in parts)
        entry_texts = tuple(
            _input_text(part) if part.file == path else text for part, text in zip(inputs, texts, strict=True)
        )
        entries.append(_Entry(str(relative), inputs, entry_texts))
    if not entries:
        raise click.UsageError(f"{folder} has no files to predict from")
    return entries


def _input_text(part: Input) -> str:
    return f"{part.modality}={part.file}" + ("" if part.weight is None else f":{part.weight:g}")


def _pending_entries(run: PredictionRun, entries: Sequence[_Entry]) -> tuple[list[_Entry], bool]:
    """The entries still to be predicted, and False if any entry was refused."""
    pending, is_complete, done_count = [], True, 0
    for entry in entries:
        folder, record = run.out / entry.name, run.record(entry.texts)
        keeps = bool(entry.name) and not run.force
        missing = [name for name in run.targets if not (keeps and has_same_record(folder / name, record, run.model))]
        try:
            check_free(folder, missing, run.force)
        except OutputTaken as error:
            is_complete = _report_error(run, entry, error)
            continue
        if missing:
            pending.append(entry)
        else:
            done_count += 1
    if done_count:
        say(f"anyseek: {done_count} of {len(entries)} files were predicted before", err=True)
    return pending, is_complete


def _write(run: PredictionRun, entry: _Entry, outcome: Predictions | Exception) -> bool:
    """Write and print the predictions for an entry, or report its error; return whether no target is missing."""
    if isinstance(outcome, Exception):
        return _report_error(run, entry, outcome)
    out, record = run.out / entry.name, run.record(entry.texts)
    model = run.model or outcome.model
    folders = [out / predicted.modality for predicted in outcome.predicted]
    try:
        for predicted, folder in zip(outcome.predicted, folders, strict=True):
            if run.force or not has_same_record(folder, record, model):
                write_folder(out, predicted, {"model": outcome.model, **record}, run.force)
    except OutputTaken as error:
        return _report_error(run, entry, error)
    file = {"file": entry.name} if entry.name else {}
    members = {**file, **prediction_members(outcome, folders)}
    say(*([json.dumps(members)] if run.as_json else summary(outcome, folders)))
    for refused in outcome.refused:
        say(f"anyseek: {entry.name}{': ' if entry.name else ''}{refused.detail}", err=True)
    return not outcome.refused


def _report_error(run: PredictionRun, entry: _Entry, error: Exception) -> bool:
    """Print the error of one file of a folder, and return False. Raises the error if there is no folder."""
    if not entry.name:
        raise error
    if run.as_json:
        say(json.dumps({"file": entry.name, "error": str(error)}))
    say(f"anyseek: {entry.name}: {error}", err=True)
    return False


@contextmanager
def open_predictor(run: PredictionRun) -> Iterator[PredictBatch]:
    """A function that predicts a batch of inputs, by a service or by the model in this process.

    Its outcomes are in order; the outcome of invalid inputs is their error. It raises all other errors.
    """
    from anyseek.api.client.connect import predicting_client
    from anyseek.search.settings import DEFAULT_MODEL

    default_model, device = split_device(os.environ.get("ANYSEEK_MODEL") or DEFAULT_MODEL)
    if run.model is not None:
        device = run.device
    # A service chooses its own device, so an explicit device means this process.
    with predicting_client(run.model) if device is None else nullcontext() as client:
        if client is not None:
            yield lambda batch: [_predict_remotely(client, run, inputs) for inputs in batch]
            return
    with _progress_line() as report:
        yield _local_predictor(run, report, default_model, device)


def _predict_remotely(client: Client, run: PredictionRun, inputs: Sequence[Input]) -> Predictions | Exception:
    """The predictions of a service, or the error with which it refuses the inputs."""
    try:
        return client.predict(inputs, run.targets, run.model, run.options)
    except (ApiError, BadInput) as error:
        if exit_code_of(error) != WRONG_USAGE:
            raise
        return error


def _local_predictor(
    run: PredictionRun, report: Callable[[str, int, int], None], default_model: str, device: str | None
) -> PredictBatch:
    """Predicts with the model in this process, which the first call loads; by default `default_model`."""
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
        for index, inputs in enumerate(batch):
            members = {"inputs": inputs, "targets": run.targets, "model": run.model, "options": run.options}
            try:
                requests[index] = read_request(members, settings.limits)
            except BadInput as error:
                outcomes[index] = error
        if requests:
            outcomes |= zip(requests, predictor.predict_batch(list(requests.values()), report), strict=True)
        return [outcomes[index] for index in range(len(batch))]

    return predict_batch


@contextmanager
def _progress_line() -> Iterator[Callable[[str, int, int], None]]:
    """A progress callback that writes to stderr: one changing line on a terminal, else a line at each new step."""
    is_terminal, last = sys.stderr.isatty(), ""

    def report(step: str, done: int, total: int) -> None:
        nonlocal last
        if is_terminal:
            say_over(f"{step}: {done} of {total}")
        elif step != last:
            say(f"predicting {step}", err=True)
        last = step

    try:
        yield report
    finally:
        if is_terminal and last:
            say_over("")
