"""`anyseek eval`: how well a model finds what it should, beside its baselines."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

    from model.embedder import Embedder, Value
    from search.evaluation.aligned import AlignedSet
    from search.evaluation.comparisons import Compare
    from search.evaluation.instruments import Instruments
    from search.evaluation.outputs import OutputRow

SUITES = ("emoji", "emoji-matrix", "photos", "imagenet-knn")
_NEED_DATA = ("photos", "imagenet-knn")
_NO_MATRIX = ("emoji", "imagenet-knn")
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
    as_json: bool
    picture: Path | None


@click.command("eval")
@click.argument("folder", type=_EXISTING, required=False)
@click.option("--suite", type=click.Choice(SUITES), help="Measure on this instead of a folder.")
@click.option("--data", type=_EXISTING, help="Where the pictures of the suite photos or imagenet-knn are.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="FOLDER is a data set of shards; its split.")
@click.option("--model", "name", default="4m-tiny", show_default=True)
@click.option("--space", help="Only this space.")
@click.option("--limit", type=click.IntRange(min=2), help="Measure on at most so many things, evenly chosen.")
@click.option("--no-baselines", "baselines", flag_value=False, default=True, help="Leave the two baselines out.")
@click.option("--compare", multiple=True, type=click.Choice(_COMPARED), help="Two ways side by side; may be repeated.")
@click.option("--whole-items", is_flag=True, help="Search things of all their modalities, too.")
@click.option("--outputs", is_flag=True, help="Measure what the model predicts of FOLDER's things instead.")
@click.option("--given", multiple=True, help="With --outputs: predict from this modality, not rgb; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw the matrix or outputs, a PNG.")
def evaluate(name: str, **options: Any) -> None:
    """Measure how well kinds of queries find kinds of items: the recall matrix of FOLDER, or a suite.

    FOLDER has aligned modalities: rgb/KEY.png, depth/KEY.png, caption/KEY.txt and so on, or pictures with sidecars or a
    manifest as `anyseek index` reads them, or with --split shards made by `anyseek data build`.

    \b
    emoji         five kinds of queries for emoji that training never saw (fetched with npm and pip)
    emoji-matrix  the recall matrix of the same emoji
    photos        labelled photos by words, and by their edges (--data)
    imagenet-knn  20 nearest neighbours on predicted global vectors (--data with train/ and val/)

    \b
    --compare fusion    parts of queries late and jointly
    --compare gallery   items by exact and by predicted vectors
    --compare decoding  codes decoded softly and hard
    --compare ceiling   exact vectors through codes and back
    --compare all       whatever of these the model has
    """
    asked = _Asked(**options)
    _check(asked)
    settings = read_settings()
    if asked.outputs:
        _outputs(asked, name, settings)
        return
    from model.embedder import load_embedder

    embedder = load_embedder(name, settings.home)
    _check_space(asked, embedder)
    if asked.suite == "emoji":
        _emoji(asked, embedder, settings)
    elif asked.suite == "imagenet-knn":
        _imagenet(asked, embedder, settings)
    else:
        _matrices(asked, embedder, settings)


def _check(asked: _Asked) -> None:
    if (asked.folder is None) == (asked.suite is None):
        raise click.UsageError("give either FOLDER or --suite")
    if (asked.data is not None) != (asked.suite in _NEED_DATA):
        raise click.UsageError(f"--data goes with --suite {' or --suite '.join(_NEED_DATA)}, which need it")
    if asked.split and asked.folder is None:
        raise click.UsageError("--split goes with a FOLDER of shards")
    if asked.outputs and (asked.suite or asked.compare or asked.whole_items or asked.space):
        raise click.UsageError(
            "--outputs goes with FOLDER, and with --given, --split, --limit, --model, --json and --picture alone"
        )
    if asked.given and not asked.outputs:
        raise click.UsageError("--given goes with --outputs")
    if (asked.picture or asked.compare or asked.whole_items) and asked.suite in _NO_MATRIX:
        raise click.UsageError(f"--suite {asked.suite} makes no recall matrix; emoji-matrix and photos do")


def _check_space(asked: _Asked, embedder: "Embedder") -> None:
    if asked.space is not None and asked.space not in embedder.spaces:
        has = ", ".join(embedder.spaces)
        raise click.UsageError(f"the model {embedder.name} has no space {asked.space!r}; it has {has}")


def _outputs(asked: _Asked, name: str, settings: Settings) -> None:
    from api.commands.eval_output import output_lines
    from api.commands.inputs import known_modality
    from model.predict import load_predictor, predict, predicted_modalities
    from search.evaluation.output_sheet import OutputSheet
    from search.evaluation.outputs import PICTURE, measure_outputs

    given = tuple(dict.fromkeys(known_modality(one).name for one in asked.given or (PICTURE,)))
    model = load_predictor(name, settings.home)
    known = frozenset(predicted_modalities(model))

    def one(inputs: "Mapping[str, Value]", target: str) -> "Value":
        return predict(inputs, [target], model=model)[target].value

    (aligned, training), *_ = _sets(asked, settings)
    sheet = OutputSheet(given[0]) if asked.picture else None
    found = measure_outputs(aligned, known, one, _progress, sheet.add if sheet else None, given)
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
    """What the average of the training split's maps would get, where there is one."""
    from search.evaluation.average_outputs import average_outputs
    from search.evaluation.outputs import measure_outputs

    averages = average_outputs(training, known - {*given}) if training else {}
    if not averages:
        return ()
    return measure_outputs(aligned, frozenset(averages), lambda _, one: averages[one], _progress, given=given).rows


def _emoji(asked: _Asked, embedder: "Embedder", settings: Settings) -> None:
    from api.commands.eval_output import emoji_lines
    from search.evaluation.emoji_suite import run_emoji_suite

    rows = run_emoji_suite(embedder, settings.home, _progress)
    if asked.as_json:
        _print_json(embedder, {"suite": "emoji"}, {"rows": [dataclasses.asdict(row) for row in rows]})
        return
    for line in emoji_lines(rows):
        click.echo(line)


def _matrices(asked: _Asked, embedder: "Embedder", settings: Settings) -> None:
    from api.commands.eval_output import matrix_lines
    from search.evaluation.matrix import recall_matrix

    instruments = _instruments(asked, embedder, settings)
    found = [recall_matrix(instruments, one, training, _progress) for one, training in _sets(asked, settings)]
    if asked.picture:
        from search.evaluation.heat_map import heat_map

        _save(asked.picture, heat_map(found, f"Recall matrix of {embedder.name}"))
    if asked.as_json:
        of = {"suite": asked.suite} if asked.suite else {"folder": str(asked.folder)}
        _print_json(embedder, of, {"sets": [dataclasses.asdict(one) for one in found]})
        return
    for line in matrix_lines(found):
        click.echo(line)


def _instruments(asked: _Asked, embedder: "Embedder", settings: Settings) -> "Instruments":
    """What is measured with; a bundled model and the encoders beside it look at a picture once."""
    from model.embedder import CodedSpaces
    from search.evaluation.instruments import Instruments
    from search.evaluation.picture_cache import cached

    compared, beside = _compared(asked, embedder), None
    if asked.baselines or isinstance(embedder, CodedSpaces):
        from model.baselines import Encoders, look_once

        encoders = Encoders(settings.home) if asked.baselines else None
        look_once(embedder, encoders)
        beside = cached(encoders, encoders.fingerprint, settings.home) if encoders else None
    spaces = (asked.space,) if asked.space else tuple(embedder.spaces)
    return Instruments(embedder, spaces, beside, compared, asked.whole_items)


def _compared(asked: _Asked, embedder: "Embedder") -> "frozenset[Compare]":
    """What is compared. Raises `click.UsageError` for what was named and cannot be."""
    from search.evaluation.comparisons import Compare, comparable

    possible = comparable(embedder)
    named = {Compare(name) for name in asked.compare if name != _ALL}
    if missing := sorted(named - possible):
        raise click.UsageError(f"--compare {missing[0]}: the model {embedder.name} has no codes of such vectors")
    if Compare.CEILING in named and not asked.baselines:
        raise click.UsageError("--compare ceiling needs the encoders, so it goes without --no-baselines")
    return frozenset(possible if _ALL in asked.compare else named)


def _sets(asked: _Asked, settings: Settings) -> "list[tuple[AlignedSet, AlignedSet | None]]":
    """What is measured, each with what the ridge is fitted on."""
    if asked.suite == "emoji-matrix":
        from search.evaluation.emoji_set import emoji_sets

        return [emoji_sets(settings.home, asked.limit)]
    if asked.data is not None:
        from search.evaluation.photo_sets import photo_sets

        return photo_sets(asked.data, asked.limit)
    assert asked.folder is not None
    if asked.split:
        from model.data.samples import Split
        from search.evaluation.shard_set import shard_sets

        return [shard_sets(asked.folder, Split(asked.split), asked.limit)]
    from indexer.aligned import read_aligned
    from model.data.shards import MANIFEST

    if (asked.folder / MANIFEST).is_file():
        raise click.UsageError(f"{asked.folder} is a data set of shards; say with --split which part of it")
    return [(read_aligned(asked.folder, settings.limits, asked.limit), None)]


def _save(path: Path, image: "Image") -> None:
    beside = path.with_name(f".{path.name}.partial")
    image.save(beside, "PNG")
    beside.replace(path)
    _progress(f"drawn into {path}")


def _imagenet(asked: _Asked, embedder: "Embedder", settings: Settings) -> None:
    from indexer.decode import decode_file
    from search.evaluation.nearest_neighbours import VOTE, neighbour_accuracy

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
