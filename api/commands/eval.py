"""`anyseek eval`: measures retrieval, compared with the encoders alone, or the modalities that a model predicts."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anyseek.api.commands.output import say
from anyseek.search.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyseek.model.data.aligned import AlignedSet
    from anyseek.model.seam import Embedder, Value

_EXISTING = click.Path(exists=True, file_okay=False, path_type=Path)
_PICTURE = "rgb"
Report = tuple[dict[str, Any], Iterable[str]]
"""The measurements, as JSON and as lines of text."""


@click.command("eval")
@click.argument("folder", type=_EXISTING, required=False)
@click.option("--suite", type=click.Choice(["queries"]), help="Measure on this suite instead of a folder.")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    help="Which split to measure, if FOLDER is a data set of shards.",
)
@click.option("--model", default="4m-tiny", show_default=True)
@click.option("--space", help="Measure only this space.")
@click.option("--limit", type=click.IntRange(min=2), help="Measure on at most this many things, evenly spaced.")
@click.option("--no-baselines", "baselines", flag_value=False, default=True, help="Do not measure the encoders alone.")
@click.option("--outputs", is_flag=True, help="Measure the modalities that the model predicts instead.")
@click.option(
    "--given", multiple=True, help="With --outputs, predict from this modality instead of rgb; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
def evaluate(folder: Path | None, suite: str | None, as_json: bool, **options: Any) -> None:
    """Measure how well each kind of query finds each kind of item: the recall matrix of FOLDER, or a suite.

    FOLDER has aligned modalities: rgb/KEY.png, depth/KEY.png, caption/KEY.txt and so on, or pictures with sidecars or a
    manifest as `anyseek index` reads them, or, with --split, shards made by `anyseek data build`.

    --suite queries compares queries of several parts with their best part, on emoji, rooms and photos that ship.
    """
    from anyseek.model.compute.threads import prepare_process

    _check_options(folder, suite, options)
    settings = read_settings()
    prepare_process(settings.threads)
    if folder is None:
        members, lines = _measure_queries(settings, options)
    elif options["outputs"]:
        members, lines = _measure_outputs(folder, settings, options)
    else:
        members, lines = _measure_matrix(folder, settings, options)
    for line in [json.dumps(members)] if as_json else lines:
        say(line)


def _check_options(folder: Path | None, suite: str | None, options: dict[str, Any]) -> None:
    """Raises `UsageError` for options that cannot be combined."""
    if (folder is None) == (suite is None):
        raise click.UsageError("give either FOLDER or --suite")
    if options["split"] and folder is None:
        raise click.UsageError("--split needs a FOLDER of shards")
    if options["outputs"] and (suite or options["space"]):
        raise click.UsageError("--outputs needs FOLDER, and cannot be combined with --space")
    if options["given"] and not options["outputs"]:
        raise click.UsageError("--given needs --outputs")


def _measure_queries(settings: Settings, options: dict[str, Any]) -> Report:
    from anyseek.api.commands.eval_output import query_lines
    from anyseek.search.evaluation.queries import measure_queries

    embedder = _load_embedder(settings, options)
    report = measure_queries(embedder, settings.home, options["limit"], _progress)
    return {"suite": "queries", **_identity(embedder), **asdict(report)}, query_lines(report)


def _measure_outputs(folder: Path, settings: Settings, options: dict[str, Any]) -> Report:
    from anyseek.api.commands.eval_output import output_lines
    from anyseek.api.commands.inputs import known_modality
    from anyseek.model.predict import predict
    from anyseek.model.registry.loading import load_model
    from anyseek.search.evaluation.outputs import measure_outputs

    inputs = tuple(dict.fromkeys(known_modality(modality).name for modality in options["given"] or (_PICTURE,)))
    model = load_model(options["model"], settings.home, settings.device)

    def predict_target(values: "Mapping[str, Value]", target: str) -> "Value":
        return predict(values, [target], model=model)[target].value

    aligned = _read_aligned_set(folder, settings, options)
    report = measure_outputs(aligned, frozenset(model.targets), predict_target, _progress, inputs)
    return {"folder": str(folder), "model": options["model"], **asdict(report)}, output_lines(report)


def _measure_matrix(folder: Path, settings: Settings, options: dict[str, Any]) -> Report:
    from anyseek.api.commands.eval_output import matrix_lines
    from anyseek.search.evaluation.matrix import recall_matrix

    embedder, space = _load_embedder(settings, options), options["space"]
    if space is not None and space not in embedder.spaces:
        raise click.UsageError(f"the model {embedder.name} has no space {space!r}; it has {', '.join(embedder.spaces)}")
    encoders = None
    if options["baselines"]:
        from anyseek.model.encoders.baselines import Encoders

        encoders = Encoders(settings.home)
    spaces = (space,) if space else tuple(embedder.spaces)
    report = recall_matrix(embedder, _read_aligned_set(folder, settings, options), spaces, encoders, _progress)
    return {"folder": str(folder), **_identity(embedder), "sets": [asdict(report)]}, matrix_lines(report)


def _read_aligned_set(folder: Path, settings: Settings, options: dict[str, Any]) -> "AlignedSet":
    if options["split"]:
        from anyseek.model.data.samples import Split
        from anyseek.search.evaluation.shard_sets import shard_set

        return shard_set(folder, Split(options["split"]), options["limit"])
    from anyseek.indexer.aligned import read_aligned
    from anyseek.model.data.shards import MANIFEST

    if (folder / MANIFEST).is_file():
        raise click.UsageError(f"{folder} is a data set of shards; choose a part of it with --split")
    return read_aligned(folder, settings, options["limit"])


def _load_embedder(settings: Settings, options: dict[str, Any]) -> "Embedder":
    from anyseek.model.registry.loading import load_embedder

    return load_embedder(options["model"], settings.home, settings.device)


def _identity(embedder: "Embedder") -> dict[str, str]:
    return {"model": embedder.name, "fingerprint": embedder.fingerprint}


def _progress(line: str) -> None:
    say(line, err=True)
