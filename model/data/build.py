"""Build a data set: `anyseek data build`.

A build can be killed at any time; the next one resumes after the last complete shard. The recipe and the sources
determine everything before the work starts (`making.make_plan`), each shard is written atomically, and
the manifest is written last. The result is therefore the same byte for byte, however often the build was interrupted
and however many workers it used.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from anyseek.model.data.contents import decode_value, sample_of
from anyseek.model.data.errors import BuildConflict, DataSetInvalid, SampleInvalid, ShardCorrupt
from anyseek.model.data.making import (
    BuildContext,
    Failure,
    Outcome,
    Plan,
    ShardPlan,
    make_in_order,
    make_plan,
    open_sources,
)
from anyseek.model.data.recipe import Recipe
from anyseek.model.data.registry import BuildSettings
from anyseek.model.data.samples import Source, Split
from anyseek.model.data.shards import (
    ATTRIBUTES,
    MANIFEST,
    DataSet,
    Shard,
    ShardWriter,
    SourceRecord,
    open_dataset,
    read_shard,
    write_manifest,
)
from anyseek.model.files import FileLock, remove_leftovers, write_file

FAILURES = "failures.jsonl"
_STATE = ".build"  # deleted when the data set is finished
_PLAN = "plan.json"


Classes = dict[str, dict[int, str]]
# Called with the numbers of settled and of planned samples, and the failures of this run.
Progress = Callable[[int, int, Sequence[Failure]], None]


@dataclass(frozen=True)
class ShardRecord:
    """The result of one shard: its file (None if all its samples failed), its contents, and its failures.

    `modalities` and `sources` count samples; `classes` names ids of region maps by modality.
    """

    split: Split
    shard: Shard | None
    modalities: dict[str, int]
    sources: dict[str, int]
    classes: Classes
    failures: tuple[Failure, ...]


_RECORD = TypeAdapter(ShardRecord)


def build(recipe: Recipe, out: Path, home: Path, workers: int, progress: Progress) -> DataSet:
    """Build a recipe's data set in the folder `out`, with `workers` processes; `home` keeps downloads and weights.

    A finished data set of the same recipe and sources is returned unchanged. Samples that cannot be made are left out
    and listed in `failures.jsonl`. Raises `BuildConflict`, `SourceUnavailable`, `DataSetInvalid`, and the errors of
    downloads.
    """
    settings = BuildSettings(home, recipe.image_size, recipe.splits)
    sources = open_sources(recipe, settings)
    plan = make_plan(recipe, sources, settings)
    out.mkdir(parents=True, exist_ok=True)
    if (out / MANIFEST).is_file():
        existing = open_dataset(out)
        if existing.digest != plan.digest:
            raise BuildConflict(
                f"{out} already holds a data set of another recipe or other sources; choose another folder"
            )
        shutil.rmtree(out / _STATE, ignore_errors=True)  # left over if the run that finished was killed
        return existing
    with _state(out, plan) as state:
        records = _make_shards(plan, BuildContext(recipe, settings, sources), out, state, workers, progress)
        return _finish(recipe, plan, sources, records, out)


def read_failures(folder: Path) -> list[Failure]:
    """The failures of a finished build. Raises `DataSetInvalid`."""
    path = folder / FAILURES
    try:
        return [Failure(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise DataSetInvalid(f"{path} cannot be read: {error}") from error


@contextmanager
def _state(out: Path, plan: Plan) -> Iterator[Path]:
    """The folder of the build's state, locked by this process. Raises `BuildConflict`."""
    state = out / _STATE
    if not state.exists() and any(out.iterdir()):
        raise BuildConflict(f"{out} is not empty, and holds no unfinished data set; choose another folder")
    state.mkdir(exist_ok=True)
    lock = FileLock(state / "lock")
    if not lock.try_acquire():
        raise BuildConflict(f"another process is building in {out}")
    try:
        remove_leftovers(out)
        if not (state / _PLAN).exists():
            write_file(state / _PLAN, json.dumps({"digest": plan.digest}))
        if json.loads((state / _PLAN).read_text())["digest"] != plan.digest:
            raise BuildConflict(
                f"{out} holds an unfinished data set of another recipe or other sources; delete it or choose "
                "another folder"
            )
        yield state
    finally:
        lock.release()


def _make_shards(
    plan: Plan, context: BuildContext, out: Path, state: Path, workers: int, progress: Progress
) -> list[ShardRecord]:
    """Make the shards that have no record yet; return the records of all shards in order."""
    paths = {shard.name: state / f"{shard.name}.json" for shard in plan.shards}
    records = {name: _RECORD.validate_json(path.read_bytes()) for name, path in paths.items() if path.is_file()}
    classes: Classes = {}
    for record in records.values():
        merge_classes(classes, record.classes)
    missing = [shard for shard in plan.shards if shard.name not in records]
    tasks = [task for shard in missing for task in shard.tasks]
    done, failures = plan.samples - len(tasks), list[Failure]()
    progress(done, plan.samples, failures)

    def report(result: Outcome) -> None:
        nonlocal done
        done += 1
        if isinstance(result, Failure):
            failures.append(result)
        progress(done, plan.samples, failures)

    with closing(make_in_order(context, tasks, workers)) as results:
        for shard in missing:
            record = records[shard.name] = _make_shard(shard, results, out, report)
            merge_classes(classes, record.classes)
            write_file(paths[shard.name], json.dumps(asdict(record), sort_keys=True))
    return [records[shard.name] for shard in plan.shards]


def _make_shard(
    shard: ShardPlan, results: Iterator[Outcome], out: Path, report: Callable[[Outcome], None]
) -> ShardRecord:
    """Write a shard from the next results, without a file if all samples failed; return its record."""
    modalities, sources = Counter[str](), Counter[str]()
    classes: Classes = {}
    failures: list[Failure] = []
    with ShardWriter(out / shard.name) as writer:
        for _ in shard.tasks:
            result = next(results)
            report(result)
            if isinstance(result, Failure):
                failures.append(result)
                continue
            writer.write(result)
            modalities.update(name.partition(".")[0] for name in result.files if name != ATTRIBUTES)
            sources[result.key.partition("/")[0]] += 1
            for name, data in result.files.items():  # ids of instances are per sample, so they have no shared names
                if name.startswith("semseg."):
                    merge_classes(classes, {"semseg": decode_value(name, data).classes})
    if not writer.samples:
        (out / shard.name).unlink()
    file = Shard(shard.name, writer.samples, writer.size, writer.sha256) if writer.samples else None
    return ShardRecord(shard.split, file, dict(modalities), dict(sources), classes, tuple(failures))


def _finish(
    recipe: Recipe, plan: Plan, sources: Sequence[Source], records: Sequence[ShardRecord], out: Path
) -> DataSet:
    """Write failures and manifest, and delete the build's state."""
    failures = [failure for record in records for failure in record.failures]
    write_file(out / FAILURES, "".join(json.dumps(asdict(failure), ensure_ascii=False) + "\n" for failure in failures))
    classes: Classes = {}
    modalities = Counter[str]()
    for record in records:
        merge_classes(classes, record.classes)
        modalities.update(record.modalities)
    splits = {split: tuple(r.shard for r in records if r.split is split and r.shard) for split in Split}
    source_records = []
    for row, source in zip(recipe.sources, sources, strict=True):
        counts = {split: sum(r.sources.get(source.name, 0) for r in records if r.split is split) for split in Split}
        samples = {split.value: count for split, count in counts.items() if count}
        source_records.append(SourceRecord(row.name, row.kind, source.licence, source.origin, row.weight, samples))
    write_manifest(
        DataSet(
            folder=out,
            name=recipe.name,
            digest=plan.digest,
            image_size=recipe.image_size,
            splits=splits,
            modalities=dict(modalities),
            classes=classes,
            sources=tuple(source_records),
            failures=len(failures),
        )
    )
    shutil.rmtree(out / _STATE)
    return open_dataset(out)


def merge_classes(classes: Classes, added: Mapping[str, Mapping[int, str]]) -> None:
    """Add names of ids to `classes`. Raises `DataSetInvalid` if an id has two names, which makes maps ambiguous."""
    for modality, names in added.items():
        table = classes.setdefault(modality, {})
        for number, name in names.items():
            if table.setdefault(number, name) != name:
                raise DataSetInvalid(
                    f"id {number} of {modality} is {table[number]!r} in one sample and {name!r} in another; "
                    "sources of one data set must share one table of classes"
                )


def verify(dataset: DataSet) -> Iterator[str]:
    """Check a data set's shards, their values, and the counts. Yields a sentence for each problem."""
    counts: Counter[str] = Counter()
    keys: set[str] = set()
    for split in Split:
        for shard in dataset.splits.get(split, ()):
            yield from _verify_shard(dataset.folder, shard, counts, keys)
    for modality in sorted({*counts, *dataset.modalities}):
        expected = dataset.modalities.get(modality, 0)
        if counts[modality] != expected:
            yield f"{counts[modality]} samples have {modality}; the manifest says {expected}"
    try:
        failure_count = len(read_failures(dataset.folder))
    except DataSetInvalid as error:
        yield str(error)
        return
    if failure_count != dataset.failures:
        yield f"failures.jsonl has {failure_count} lines; the manifest says {dataset.failures}"


def _verify_shard(folder: Path, shard: Shard, counts: Counter[str], keys: set[str]) -> Iterator[str]:
    """Check a shard's checksum, values and keys; add to the `counts` of modalities and the `keys` of the data set."""
    samples = 0
    try:
        for entry in read_shard(folder / shard.name, shard.sha256):
            samples += 1
            if entry.key in keys:
                yield f"{shard.name}: {entry.key} is there twice"
            keys.add(entry.key)
            try:
                counts.update(sample_of(entry).values.keys())
            except SampleInvalid as error:
                yield f"{shard.name}: {entry.key}: {error}"
    except ShardCorrupt as error:
        yield str(error)
    else:
        if samples != shard.samples:
            yield f"{shard.name} has {samples} samples; the manifest says {shard.samples}"
