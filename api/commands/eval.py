"""`anyseek eval`: measures how well a model finds what it should, compared with the encoders alone."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anyseek.search.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyseek.model.data.aligned import AlignedSet
    from anyseek.model.seam import Embedder, Value

_EXISTING = click.Path(exists=True, file_okay=False, path_type=Path)
_PICTURE = "rgb"


@click.command("eval")
@click.argument("folder", type=_EXISTING, required=False)
@click.option("--suite", type=click.Choice(["queries"]), help="Measure on this suite instead of a folder.")
@click.option("--data", type=_EXISTING, help="With --suite: a folder with packs of photos with measured maps.")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    help="Which split to measure, if FOLDER is a data set of shards.",
)
@click.option("--model", default="4m-tiny", show_default=True)
@click.option("--space", help="Measure only this space.")
@click.option("--limit", type=click.IntRange(min=2), help="Measure on at most this many things, evenly chosen.")
@click.option("--no-baselines", "baselines", flag_value=False, default=True, help="Leave the encoders alone out.")
@click.option("--outputs", is_flag=True, help="Measure what the model predicts of FOLDER's things instead.")
@click.option(
    "--given", multiple=True, help="With --outputs, predict from this modality instead of rgb; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
def evaluate(
    folder: Path | None,
    suite: str | None,
    data: Path | None,
    split: str | None,
    model: str,
    space: str | None,
    limit: int | None,
    baselines: bool,
    outputs: bool,
    given: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure how well each kind of query finds each kind of item: the recall matrix of FOLDER, or a suite.

    FOLDER has aligned modalities: rgb/KEY.png, depth/KEY.png, caption/KEY.txt and so on, or pictures with sidecars or a
    manifest as `anyseek index` reads them, or, with --split, shards made by `anyseek data build`.

    --suite queries asks queries of several parts, of emoji, rooms and photos that ship, beside their best part alone;
    with --data also of photos with measured depth and regions.
    """
    from anyseek.model.compute.threads import prepare_process

    if (folder is None) == (suite is None):
        raise click.UsageError("give FOLDER or --suite, one of the two")
    if data is not None and suite is None:
        raise click.UsageError("--data goes with --suite queries")
    if split and folder is None:
        raise click.UsageError("--split needs a FOLDER of shards")
    if outputs and (suite or space):
        raise click.UsageError("--outputs needs FOLDER, and cannot be combined with --space")
    if given and not outputs:
        raise click.UsageError("--given needs --outputs")
    settings = read_settings()
    prepare_process(settings.threads)
    if folder is None:
        _queries(model, settings, data, limit, as_json)
    elif outputs:
        _outputs(folder, split, limit, model, settings, given, as_json)
    else:
        _matrix(folder, split, limit, model, settings, space, baselines, as_json)


def _queries(name: str, settings: Settings, data: Path | None, limit: int | None, as_json: bool) -> None:
    from anyseek.api.commands.eval_output import query_lines
    from anyseek.model.registry.loading import load_embedder
    from anyseek.search.evaluation.queries import measure_queries

    embedder = load_embedder(name, settings.home, settings.device)
    found = measure_queries(embedder, settings.home, limit, _progress, data)
    if as_json:
        _print_json(embedder, {"suite": "queries"}, dataclasses.asdict(found))
        return
    for line in query_lines(found):
        click.echo(line)


def _outputs(
    folder: Path,
    split: str | None,
    limit: int | None,
    name: str,
    settings: Settings,
    given: tuple[str, ...],
    as_json: bool,
) -> None:
    from anyseek.api.commands.eval_output import output_lines
    from anyseek.api.commands.inputs import known_modality
    from anyseek.model.predict import predict
    from anyseek.model.registry.loading import load_model
    from anyseek.search.evaluation.outputs import measure_outputs

    inputs = tuple(dict.fromkeys(known_modality(modality).name for modality in given or (_PICTURE,)))
    model = load_model(name, settings.home, settings.device)

    def predicted(values: "Mapping[str, Value]", target: str) -> "Value":
        return predict(values, [target], model=model)[target].value

    aligned = _aligned(folder, split, limit, settings)
    found = measure_outputs(aligned, frozenset(model.targets), predicted, _progress, inputs)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "model": name, **dataclasses.asdict(found)}))
        return
    for line in output_lines(found):
        click.echo(line)


def _matrix(
    folder: Path,
    split: str | None,
    limit: int | None,
    name: str,
    settings: Settings,
    space: str | None,
    baselines: bool,
    as_json: bool,
) -> None:
    from anyseek.api.commands.eval_output import matrix_lines
    from anyseek.model.registry.loading import load_embedder
    from anyseek.search.evaluation.matrix import recall_matrix

    embedder = load_embedder(name, settings.home, settings.device)
    if space is not None and space not in embedder.spaces:
        raise click.UsageError(f"the model {embedder.name} has no space {space!r}; it has {', '.join(embedder.spaces)}")
    encoders = None
    if baselines:
        from anyseek.model.encoders.baselines import Encoders

        encoders = Encoders(settings.home)
    spaces = (space,) if space else tuple(embedder.spaces)
    found = recall_matrix(embedder, _aligned(folder, split, limit, settings), spaces, encoders, _progress)
    if as_json:
        _print_json(embedder, {"folder": str(folder)}, {"sets": [dataclasses.asdict(found)]})
        return
    for line in matrix_lines(found):
        click.echo(line)


def _aligned(folder: Path, split: str | None, limit: int | None, settings: Settings) -> "AlignedSet":
    if split:
        from anyseek.model.data.samples import Split
        from anyseek.search.evaluation.shard_sets import shard_set

        return shard_set(folder, Split(split), limit)
    from anyseek.indexer.aligned import read_aligned
    from anyseek.model.data.shards import MANIFEST

    if (folder / MANIFEST).is_file():
        raise click.UsageError(f"{folder} is a data set of shards; choose a part of it with --split")
    return read_aligned(folder, settings, limit)


def _print_json(embedder: "Embedder", of: dict[str, Any], result: dict[str, Any]) -> None:
    about = {**of, "model": embedder.name, "fingerprint": embedder.fingerprint}
    click.echo(json.dumps({**about, **result}))


def _progress(line: str) -> None:
    click.echo(line, err=True)
