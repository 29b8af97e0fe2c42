"""`anyseek predict` with a folder as an input: predicts from each of its files, many at once.

OUT/FILE/depth/depth.png …, where FILE is the file's path below the folder. What an earlier run wrote for the same
inputs, targets and options is left as it is, so a run that was killed goes on where it was.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from anyseek.api.commands.predict_job import PredictionJob, asking
from anyseek.api.commands.predict_output import (
    RECORD,
    OutputTaken,
    check_free,
    prediction_members,
    summary,
    write_folder,
)
from anyseek.api.predictions.wire import Input, Predictions

_AT_ONCE = 16  # files that are read and predicted from together


@dataclass(frozen=True)
class Output:
    """Where predictions go, whether they replace others, and how they are told of."""

    folder: Path
    force: bool
    as_json: bool


@dataclass(frozen=True)
class _File:
    """A file's path below its folder, the inputs that it is one of, and these as they are told."""

    name: str
    inputs: tuple[Input, ...]
    told: tuple[str, ...]


def folder_of(inputs: Sequence[Input]) -> Path | None:
    """The folder among the inputs, if there is one. Raises `click.UsageError` if there are two."""
    folders = [given.file for given in inputs if given.file is not None and given.file.is_dir()]
    if len(folders) > 1:
        raise click.UsageError(f"{folders[0]} and {folders[1]} are folders; only one input may be one")
    return folders[0] if folders else None


def predict_folder(
    job: PredictionJob, inputs: Sequence[Input], given: Sequence[str], folder: Path, output: Output
) -> bool:
    """Predict from each file below `folder`, which is one of `inputs`; `given` are these as they were written.

    Says whether every target of every file was predicted. Raises what concerns all files.
    """
    files = [_file(inputs, given, folder, path) for path in _paths(folder, output.folder)]
    if not files:
        raise click.UsageError(f"{folder} has no files to predict from")
    left = [file for file in files if output.force or _missing(job, file, output.folder)]
    if len(left) < len(files):
        click.echo(f"anyseek: {len(files) - len(left)} of {len(files)} files were predicted before", err=True)
    taken = {file: error for file in left if (error := _taken(job, file, output)) is not None}
    for file, error in taken.items():
        _refused(file, error, output)
    wanted, well = [file for file in left if file not in taken], not taken
    with asking(job) as ask:
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            for file, outcome in zip(some, ask([file.inputs for file in some]), strict=True):
                well &= _written(job, file, outcome, output)
    return well


def _paths(folder: Path, out: Path) -> Iterator[Path]:
    """The files below a folder in order, without hidden ones and those that predictions are written to."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and not path.resolve().is_relative_to(out.resolve()):
            yield path


def _file(inputs: Sequence[Input], given: Sequence[str], folder: Path, path: Path) -> _File:
    name = str(path.relative_to(folder))
    chosen = tuple(replace(each, file=path) if each.file == folder else each for each in inputs)
    told = tuple(_spelled(each) if each.file == path else text for each, text in zip(chosen, given, strict=True))
    return _File(name, chosen, told)


def _spelled(given: Input) -> str:
    weight = "" if given.weight is None else f":{given.weight:g}"
    return f"{given.modality}={given.file}{weight}"


def _taken(job: PredictionJob, file: _File, output: Output) -> OutputTaken | None:
    """Why a file's missing targets cannot be written, if that is so: other things are in their places."""
    missing = job.targets if output.force else _missing(job, file, output.folder)
    try:
        check_free(output.folder / file.name, missing, output.force)
    except OutputTaken as error:
        return error
    return None


def _missing(job: PredictionJob, file: _File, out: Path) -> list[str]:
    """The targets of a file that are yet to be predicted in the way that is asked for, by the model if one is named."""
    told = job.told(file.told)
    return [target for target in job.targets if not _was_made_so(out / file.name / target, told, job.model)]


def _was_made_so(folder: Path, told: Mapping[str, object], model: str | None) -> bool:
    """Whether a target's folder is there, and its record has these members, and a model that `model` means."""
    from anyseek.model.fourm.published.names import may_answer

    try:
        made = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(made, dict) or any(made.get(name) != value for name, value in told.items()):
        return False
    return model is None or may_answer(str(made.get("model")), model)


def _written(job: PredictionJob, file: _File, outcome: Predictions | Exception, output: Output) -> bool:
    """Write and tell of one file's predictions, or why there are none; False if any target is missing."""
    if isinstance(outcome, Exception):
        return _refused(file, outcome, output)
    out, made_with = output.folder / file.name, job.made_with(outcome, file.told)
    new = [each for each in outcome.predicted if output.force or not _is_there(job, file, out / each.modality, outcome)]
    try:
        check_free(out, [each.modality for each in new], output.force)
    except OutputTaken as error:
        return _refused(file, error, output)
    for each in new:
        write_folder(out, each, made_with, output.force)
    folders = [out / each.modality for each in outcome.predicted]
    members = {"file": file.name, **prediction_members(outcome, folders)}
    click.echo(json.dumps(members) if output.as_json else summary(outcome, folders))
    for refused in outcome.refused:
        click.echo(f"anyseek: {file.name}: {refused.detail}", err=True)
    return not outcome.refused


def _is_there(job: PredictionJob, file: _File, folder: Path, outcome: Predictions) -> bool:
    """Whether an earlier run wrote what a target's folder shall hold."""
    return _was_made_so(folder, job.told(file.told), job.model or outcome.model)


def _refused(file: _File, error: Exception, output: Output) -> bool:
    if output.as_json:
        click.echo(json.dumps({"file": file.name, "error": str(error)}))
    click.echo(f"anyseek: {file.name}: {error}", err=True)
    return False
