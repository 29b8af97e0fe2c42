"""Building a data set: `anyseek data build`.

Killed at any moment and started again, it goes on at the last whole shard. Everything is settled before the work by the
recipe and the sources (`model.data.plan`), each shard appears whole or not at all, and the manifest comes last; so the
result is the same, byte by byte, however often the build was interrupted and with however many workers.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from model.data.codecs import decode_value
from model.data.errors import BuildConflict, DataSetInvalid
from model.data.making import Failure, Made, Workshop
from model.data.plan import Plan, ShardPlan, make_plan, open_sources
from model.data.recipe import Recipe
from model.data.records import (
    Classes,
    ShardRecord,
    Tally,
    all_failures,
    counts,
    merge_classes,
    read_record,
    write_record,
)
from model.data.registry import Place
from model.data.samples import Source, Split
from model.data.shards import (
    MANIFEST,
    DataSet,
    Entry,
    Shard,
    ShardWriter,
    SourceRecord,
    open_dataset,
    write_atomically,
    write_manifest,
)
from model.data.working import make_in_order

FAILURES = "failures.jsonl"
_STATE = ".build"  # gone when the data set is finished
_PLAN = "plan.json"


class Progress(Protocol):
    """Is told how far a build is."""

    def started(self, samples: int, done: int) -> None:
        """`samples` are planned, `done` of them were made by an earlier run."""
        ...

    def settled(self) -> None:
        """One more sample is made, or failed."""
        ...

    def failed(self, failure: Failure) -> None: ...


def build(recipe: Recipe, out: Path, home: Path, workers: int, progress: Progress) -> DataSet:
    """Make the data set of a recipe in the folder `out`, with `workers` processes; `home` keeps downloads and weights.

    A finished one of the same recipe and sources is returned as it is. Samples that cannot be made are left out and
    listed in `failures.jsonl`. Raises `BuildConflict`, `SourceUnavailable`, `DataSetInvalid`, and what fetching raises.
    """
    place = Place(home, recipe.image_size, recipe.splits)
    sources = open_sources(recipe, place)
    plan = make_plan(recipe, sources, place)
    out.mkdir(parents=True, exist_ok=True)
    if (out / MANIFEST).is_file():
        return _finished(out, plan)
    with _state(out, plan) as state:
        records = _make_shards(plan, Workshop(recipe, place, sources), out, state, workers, progress)
        return _finish(recipe, plan, sources, records, out)


def read_failures(folder: Path) -> list[Failure]:
    """The failures of a finished build. Raises `DataSetInvalid`."""
    path = folder / FAILURES
    try:
        return [Failure(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise DataSetInvalid(f"{path} cannot be read: {error}") from error


def _finished(out: Path, plan: Plan) -> DataSet:
    made = open_dataset(out)
    if made.digest != plan.digest:
        raise BuildConflict(f"{out} holds a data set of another recipe or other sources; choose another folder")
    shutil.rmtree(out / _STATE, ignore_errors=True)  # if the run that finished was killed just before
    return made


@contextmanager
def _state(out: Path, plan: Plan) -> Iterator[Path]:
    """The folder of what is remembered, held by this process alone. Raises `BuildConflict`."""
    state = out / _STATE
    if not state.exists() and any(out.iterdir()):
        raise BuildConflict(f"{out} is not empty, and no data set was begun in it; choose another folder")
    state.mkdir(exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BuildConflict(f"another process is building in {out}") from error
        if not (state / _PLAN).exists():
            write_atomically(state / _PLAN, json.dumps({"digest": plan.digest}))
        if json.loads((state / _PLAN).read_text())["digest"] != plan.digest:
            raise BuildConflict(
                f"{out} holds a begun data set of another recipe or other sources; delete it or choose another folder"
            )
        yield state


def _make_shards(
    plan: Plan, workshop: Workshop, out: Path, state: Path, workers: int, progress: Progress
) -> list[ShardRecord]:
    """Make what is not recorded yet; the records of all shards in their order."""
    records = {shard.name: read_record(state / f"{shard.name}.json") for shard in plan.shards}
    classes: Classes = {}
    for known in records.values():
        merge_classes(classes, known.classes if known else {})
    missing = [shard for shard in plan.shards if records[shard.name] is None]
    left = sum(len(shard.jobs) for shard in missing)
    progress.started(plan.samples, plan.samples - left)
    jobs = [job for shard in missing for job in shard.jobs]
    with closing(make_in_order(workshop, jobs, workers)) as made:
        for shard in missing:
            record = _make_shard(shard, made, out, progress)
            merge_classes(classes, record.classes)
            write_record(state / f"{shard.name}.json", record)
            records[shard.name] = record
    return [record for record in records.values() if record is not None]


def _make_shard(shard: ShardPlan, made: Iterator[Made], out: Path, progress: Progress) -> ShardRecord:
    """Write the shard from the next results; one without any sample is no file."""
    tally, failures = Tally(), list[Failure]()
    with ShardWriter(out / shard.name) as writer:
        for _ in shard.jobs:
            one = next(made)
            if isinstance(one, Failure):
                failures.append(one)
                progress.failed(one)
            else:
                writer.write(one)
                tally.add(one, _classes(one))
            progress.settled()
    if not writer.samples:
        (out / shard.name).unlink()
    file = Shard(shard.name, writer.samples, writer.size, writer.sha256) if writer.samples else None
    return ShardRecord(shard.split, file, dict(tally.modalities), dict(tally.sources), tally.classes, tuple(failures))


def _classes(entry: Entry) -> Mapping[str, Mapping[int, str]]:
    """The names of ids in the segmentation map of an entry; instances have ids of their own in each sample."""
    maps = [name for name in entry.files if name.startswith("semseg.")]
    return {"semseg": decode_value(maps[0], entry.files[maps[0]]).classes} if maps else {}


def _finish(
    recipe: Recipe, plan: Plan, sources: Sequence[Source], records: Sequence[ShardRecord], out: Path
) -> DataSet:
    """Write failures and manifest, and forget what was remembered."""
    failures = all_failures(records)
    lines = [json.dumps(asdict(failure), ensure_ascii=False) + "\n" for failure in failures]
    write_atomically(out / FAILURES, "".join(lines))
    classes: Classes = {}
    modalities: dict[str, int] = {}
    for record in records:
        merge_classes(classes, record.classes)
        for modality, count in record.modalities.items():
            modalities[modality] = modalities.get(modality, 0) + count
    splits = {split: tuple(r.shard for r in records if r.split is split and r.shard) for split in Split}
    kinds = [
        SourceRecord(one.name, one.kind, source.licence, source.origin, one.weight, counts(records, source.name))
        for one, source in zip(recipe.sources, sources, strict=True)
    ]
    made = DataSet(
        out, recipe.name, plan.digest, recipe.image_size, splits, modalities, classes, tuple(kinds), len(failures)
    )
    write_manifest(made)
    shutil.rmtree(out / _STATE)
    return open_dataset(out)
