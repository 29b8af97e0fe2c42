"""`anyseek eval`: measures how well a model finds what it should, compared with its baselines."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anyseek.search.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from PIL.Image import Image

    from anyseek.model.seam import Embedder, Value
    from anyseek.search.evaluation.aligned import AlignedSet
    from anyseek.search.evaluation.instruments import Compare, Instruments
    from anyseek.search.evaluation.outputs import OutputRow
    from anyseek.search.evaluation.transfer_sets import TransferSet

SUITES = ("emoji", "emoji-matrix", "queries", "photos", "transfer", "imagenet-knn")
_NEED_DATA = ("photos", "imagenet-knn")
_TAKE_DATA = (*_NEED_DATA, "queries", "transfer")
_NO_MATRIX = ("emoji", "queries", "transfer", "imagenet-knn")
_ALL = "all"
_COMPARED = ("fusion", "gallery", "decoding", "ceiling", _ALL)
_EXISTING = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """The options of one call."""

    folder: Path | None
    suite: str | None
    data: Path | None
    split: str | None
    limit: int | None
    space: str | None
    baselines: bool
    compare: tuple[str, ...]
    whole_items: bool
    outputs: bool
    given: tuple[str, ...]
    left_out: tuple[str, ...]
    as_json: bool
    picture: Path | None


@click.command("eval")
@click.argument("folder", type=_EXISTING, required=False)
@click.option("--suite", type=click.Choice(SUITES), help="Measure on this suite instead of a folder.")
@click.option(
    "--data",
    type=_EXISTING,
    help="The folder with the pictures of the suite photos, queries, transfer or imagenet-knn.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    help="Which split to measure, if FOLDER is a data set of shards.",
)
@click.option("--model", "name", default="4m-tiny", show_default=True)
@click.option("--space", help="Measure only this space.")
@click.option("--limit", type=click.IntRange(min=2), help="Measure on at most this many things, evenly chosen.")
@click.option("--no-baselines", "baselines", flag_value=False, default=True, help="Leave the two baselines out.")
@click.option(
    "--compare", multiple=True, type=click.Choice(_COMPARED), help="Compare two ways of answering; may be repeated."
)
@click.option("--whole-items", is_flag=True, help="Also search things with all their modalities.")
@click.option("--outputs", is_flag=True, help="Measure what the model predicts of FOLDER's things instead.")
@click.option(
    "--given", multiple=True, help="With --outputs, predict from this modality instead of rgb; may be repeated."
)
@click.option(
    "--left-out",
    multiple=True,
    help="With --suite transfer --data: a source that no training saw, or all; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the matrix or the outputs into this PNG file.",
)
def evaluate(name: str, **options: Any) -> None:
    """Measure how well each kind of query finds each kind of item: the recall matrix of FOLDER, or of a suite.

    FOLDER has aligned modalities: rgb/KEY.png, depth/KEY.png, caption/KEY.txt and so on, or pictures with sidecars or a
    manifest as `anyseek index` reads them, or, with --split, shards made by `anyseek data build`.

    \b
    emoji         five kinds of queries for emoji that training never saw (fetched with npm and pip)
    emoji-matrix  the recall matrix of the same emoji
    queries       queries of several parts, of emoji, rooms and photos that ship, beside their best part alone;
                  with --data also of photos with measured depth and regions
    photos        labelled photos by words, and by their edges (--data)
    transfer      real photos by captions, sketches, maps and edges, a source a row (--data); without
                  --data a small one: photos that ship with Anyseek, rendered rooms and emoji
    imagenet-knn  20 nearest neighbours on predicted global vectors (--data with train/ and val/)

    \b
    --compare fusion    the parts of a query, fused late and jointly
    --compare gallery   items by exact and by predicted vectors
    --compare decoding  codes decoded softly and hard
    --compare ceiling   exact vectors through codes and back
    --compare all       every comparison that the model allows
    """
    from anyseek.model.compute.options import switching
    from anyseek.model.compute.processors import prepare_process

    asked = _Asked(**options)
    _check(asked)
    settings = read_settings()
    prepare_process(settings.threads)
    with switching(settings.switches):
        (_outputs if asked.outputs else _vectors)(asked, name, settings)


def _vectors(asked: _Asked, name: str, settings: Settings) -> None:
    from anyseek.model.library.loading import load_embedder

    embedder = load_embedder(name, settings.home, settings.device)
    _check_space(asked, embedder)
    _MEASURES.get(asked.suite or "", _matrices)(asked, embedder, settings)


def _check(asked: _Asked) -> None:
    if (asked.folder is None) == (asked.suite is None):
        raise click.UsageError("give FOLDER or --suite, one of the two")
    if asked.data is None and asked.suite in _NEED_DATA:
        raise click.UsageError(f"--suite {asked.suite} needs --data")
    if asked.data is not None and asked.suite not in _TAKE_DATA:
        raise click.UsageError(f"--data goes with --suite {' or --suite '.join(_TAKE_DATA)}")
    if asked.split and asked.folder is None:
        raise click.UsageError("--split needs a FOLDER of shards")
    if asked.outputs and (asked.suite or asked.compare or asked.whole_items or asked.space):
        raise click.UsageError(
            "--outputs needs FOLDER, and can be combined only with --given, --split, --limit, --model, "
            "--json and --picture"
        )
    if asked.left_out and (asked.suite != "transfer" or asked.data is None):
        raise click.UsageError("--left-out goes with --suite transfer and --data")
    if asked.given and not asked.outputs:
        raise click.UsageError("--given needs --outputs")
    if (asked.picture or asked.compare or asked.whole_items) and asked.suite in _NO_MATRIX:
        raise click.UsageError(f"--suite {asked.suite} has no recall matrix to print; emoji-matrix and photos have one")


def _check_space(asked: _Asked, embedder: "Embedder") -> None:
    if asked.space is not None and asked.space not in embedder.spaces:
        has = ", ".join(embedder.spaces)
        raise click.UsageError(f"the model {embedder.name} has no space {asked.space!r}; it has {has}")


def _outputs(asked: _Asked, name: str, settings: Settings) -> None:
    from anyseek.api.commands.eval_output import output_lines
    from anyseek.api.commands.inputs import known_modality
    from anyseek.model.library.loading import load_model
    from anyseek.model.predict import predict
    from anyseek.search.evaluation.output_sheet import OutputSheet
    from anyseek.search.evaluation.outputs import PICTURE, measure_outputs

    given = tuple(dict.fromkeys(known_modality(modality).name for modality in asked.given or (PICTURE,)))
    model = load_model(name, settings.home, settings.device)
    known = frozenset(model.targets)

    def predicted(inputs: "Mapping[str, Value]", target: str) -> "Value":
        return predict(inputs, [target], model=model)[target].value

    (aligned, training), *_ = _sets(asked, settings)
    sheet = OutputSheet(given[0]) if asked.picture else None
    found = measure_outputs(aligned, known, predicted, _progress, sheet.add if sheet else None, given)
    average = _average(aligned, training, known, given)
    if asked.picture and sheet:
        _save(asked.picture, sheet.drawn())
    if asked.as_json:
        about = {"folder": str(asked.folder), "model": name, **dataclasses.asdict(found)}
        click.echo(json.dumps({**about, "average": [dataclasses.asdict(row) for row in average]}))
        return
    for line in output_lines(found, average):
        click.echo(line)


def _average(
    aligned: "AlignedSet", training: "AlignedSet | None", known: frozenset[str], given: tuple[str, ...]
) -> "tuple[OutputRow, ...]":
    """The scores of the average of the training split's maps, if there is a training split."""
    from anyseek.search.evaluation.average_outputs import average_outputs
    from anyseek.search.evaluation.outputs import measure_outputs

    averages = average_outputs(training, known - {*given}) if training else {}
    if not averages:
        return ()
    known = frozenset(averages)
    return measure_outputs(aligned, known, lambda _, target: averages[target], _progress, given=given).rows


def _emoji(asked: _Asked, embedder: "Embedder", settings: Settings) -> None:
    from anyseek.api.commands.eval_output import emoji_lines
    from anyseek.search.evaluation.emoji_suite import run_emoji_suite

    rows = run_emoji_suite(embedder, settings.home, _progress)
    if asked.as_json:
        _print_json(embedder, {"suite": "emoji"}, {"rows": [dataclasses.asdict(row) for row in rows]})
        return
    for line in emoji_lines(rows):
        click.echo(line)


def _queries(asked: _Asked, embedder: "Embedder", settings: Settings) -> None:
    from anyseek.api.commands.eval_output import combined_lines
    from anyseek.search.evaluation.combined_queries import measure_combined

    found = measure_combined(embedder, settings.home, asked.limit, _progress, asked.data)
    if asked.as_json:
        _print_json(embedder, {"suite": "queries"}, dataclasses.asdict(found))
        return
    for line in combined_lines(found):
        click.echo(line)


def _matrices(asked: _Asked, embedder: "Embedder", settings: Settings) -> None:
    from anyseek.api.commands.eval_output import matrix_lines
    from anyseek.search.evaluation.matrix import recall_matrix

    instruments = _instruments(asked, embedder, settings)
    found = [recall_matrix(instruments, aligned, training, _progress) for aligned, training in _sets(asked, settings)]
    if asked.picture:
        from anyseek.search.evaluation.heat_map import heat_map

        _save(asked.picture, heat_map(found, f"Recall matrix of {embedder.name}"))
    if asked.as_json:
        of = {"suite": asked.suite} if asked.suite else {"folder": str(asked.folder)}
        _print_json(embedder, of, {"sets": [dataclasses.asdict(matrix) for matrix in found]})
        return
    for line in matrix_lines(found):
        click.echo(line)


def _transfer(asked: _Asked, embedder: "Embedder", settings: Settings) -> None:
    from anyseek.api.commands.eval_output import transfer_lines
    from anyseek.search.evaluation.transfer import measure_transfer

    instruments = _instruments(asked, embedder, settings)
    found = measure_transfer(instruments, _transfer_sets(asked, settings), _progress)
    if asked.as_json:
        means = {column: found.mean(column) for column in ("model", "encoders", "ridge")}
        _print_json(embedder, {"suite": "transfer"}, {**dataclasses.asdict(found), "means": means})
        return
    for line in transfer_lines(found):
        click.echo(line)


def _transfer_sets(asked: _Asked, settings: Settings) -> "Iterable[TransferSet]":
    if asked.data is None:
        from anyseek.search.evaluation.small_transfer import small_transfer_sets

        return small_transfer_sets(settings.home, asked.limit)
    from anyseek.search.evaluation.transfer_sets import transfer_sets

    return transfer_sets(asked.data, asked.left_out, asked.limit)


def _instruments(asked: _Asked, embedder: "Embedder", settings: Settings) -> "Instruments":
    """The model and the encoders that are measured."""
    from anyseek.model.seam import CodeEmbedder
    from anyseek.search.evaluation.instruments import Instruments
    from anyseek.search.evaluation.picture_cache import cached

    compared, beside = _compared(asked, embedder), None
    if asked.baselines or isinstance(embedder, CodeEmbedder):
        from anyseek.model.encoders.baselines import Encoders

        encoders = Encoders(settings.home) if asked.baselines else None
        beside = cached(encoders, encoders.fingerprint, settings.home) if encoders else None
    spaces = (asked.space,) if asked.space else tuple(embedder.spaces)
    return Instruments(embedder, spaces, beside, compared, asked.whole_items)


def _compared(asked: _Asked, embedder: "Embedder") -> "frozenset[Compare]":
    """The comparisons to make. Raises `click.UsageError` for one that is not possible."""
    from anyseek.search.evaluation.instruments import Compare, comparable

    possible = comparable(embedder)
    named = {Compare(name) for name in asked.compare if name != _ALL}
    if missing := sorted(named - possible):
        raise click.UsageError(f"--compare {missing[0]}: the model {embedder.name} has no codes for such vectors")
    if Compare.CEILING in named and not asked.baselines:
        raise click.UsageError("--compare ceiling needs the encoders; leave out --no-baselines")
    return frozenset(possible if _ALL in asked.compare else named)


def _sets(asked: _Asked, settings: Settings) -> "list[tuple[AlignedSet, AlignedSet | None]]":
    """The sets to measure, each with the set that the ridge is fitted on."""
    if asked.suite == "emoji-matrix":
        from anyseek.search.evaluation.emoji_suite import emoji_sets

        return [emoji_sets(settings.home, asked.limit)]
    if asked.data is not None:
        from anyseek.search.evaluation.photo_sets import photo_sets

        return photo_sets(asked.data, asked.limit)
    assert asked.folder is not None
    if asked.split:
        from anyseek.model.data.samples import Split
        from anyseek.search.evaluation.shard_sets import shard_sets

        return [shard_sets(asked.folder, Split(asked.split), asked.limit)]
    from anyseek.indexer.aligned import read_aligned
    from anyseek.model.data.shards import MANIFEST

    if (asked.folder / MANIFEST).is_file():
        raise click.UsageError(f"{asked.folder} is a data set of shards; choose a part of it with --split")
    return [(read_aligned(asked.folder, settings, asked.limit), None)]


def _save(path: Path, image: "Image") -> None:
    from anyseek.model.files import whole_file

    with whole_file(path) as temporary:
        image.save(temporary, "PNG")
    _progress(f"drawn into {path}")


def _imagenet(asked: _Asked, embedder: "Embedder", settings: Settings) -> None:
    from anyseek.model.modalities.reading.decode import decode_file
    from anyseek.search.evaluation.nearest_neighbours import VOTE, neighbour_accuracy

    space = asked.space or "dinov2_global"
    if space not in embedder.spaces:
        has = ", ".join(embedder.spaces)
        raise click.UsageError(f"the model {embedder.name} has no space dinov2_global; choose with --space from {has}")
    assert asked.data is not None
    load: Any = functools.partial(decode_file, "rgb", limits=settings.limits)
    cache = settings.home / "cache" / "evaluation"
    result = neighbour_accuracy(embedder, space, asked.data, cache, load, _progress)
    if asked.as_json:
        about = {"suite": "imagenet-knn", "space": space, "vote": VOTE}
        _print_json(embedder, about, dataclasses.asdict(result))
        return
    for reason in result.unreadable:
        _progress(f"left out: {reason}")
    click.echo(
        f"top-1 {result.top_1.value:.3f} (95%: {result.top_1.low:.3f} to {result.top_1.high:.3f}; {VOTE}), "
        f"{result.top_1_plain.value:.3f} by plain vote"
    )
    click.echo(
        f"{result.validation_pictures:,} pictures of {result.classes:,} classes against "
        f"{result.training_pictures:,}, in space {space} of {embedder.name}"
    )


def _print_json(embedder: "Embedder", of: dict[str, Any], result: dict[str, Any]) -> None:
    about = {**of, "model": embedder.name, "fingerprint": embedder.fingerprint}
    click.echo(json.dumps({**about, **result}))


def _progress(line: str) -> None:
    click.echo(line, err=True)


# Suites that are not matrices.
_MEASURES = {"emoji": _emoji, "queries": _queries, "transfer": _transfer, "imagenet-knn": _imagenet}
