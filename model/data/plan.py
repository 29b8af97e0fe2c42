"""Assign samples to shards before any work starts, so that a build can stop and resume anywhere."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.data.recipe import Recipe
from anyseek.model.data.registry import Place, labeller_kind, source_kind
from anyseek.model.data.samples import Source, Split

_VERSION = 2  # raise it when the same recipe and sources give other shards


@dataclass(frozen=True)
class Job:
    """One sample to be made: the place of its source in the recipe, and its key there."""

    source: int
    key: str


@dataclass(frozen=True)
class ShardPlan:
    """A shard's file and the samples that belong into it, in their order."""

    name: str
    split: Split
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Plan:
    """All shards of a data set. `digest` stands for recipe, sources, keys and weights: what decides the bytes."""

    shards: tuple[ShardPlan, ...]
    digest: str

    @property
    def samples(self) -> int:
        """How many samples are planned."""
        return sum(len(shard.jobs) for shard in self.shards)


def open_sources(recipe: Recipe, place: Place) -> tuple[Source, ...]:
    """The recipe's sources in its order. Raises `SourceUnavailable`, `DownloadFailed` and so on."""
    return tuple(source_kind(source.kind).open(source.name, source.options, place) for source in recipe.sources)


def make_plan(recipe: Recipe, sources: Sequence[Source], place: Place) -> Plan:
    """Order all keys at random by the recipe's seed, and cut them into shards. Raises `SourceUnavailable`."""
    chosen = _choose(recipe, sources)
    shards: list[ShardPlan] = []
    for split in Split:
        jobs = [job for job, its_split in chosen.items() if its_split is split]
        jobs.sort(key=lambda job: _order(recipe.seed, split, sources[job.source].name, job.key))
        for start in range(0, len(jobs), recipe.shard_samples):
            name = f"{split}-{start // recipe.shard_samples:06d}.tar"
            shards.append(ShardPlan(name, split, tuple(jobs[start : start + recipe.shard_samples])))
    if not shards:
        raise SourceUnavailable(f"the sources of {recipe.name} have no samples at all")
    return Plan(tuple(shards), _digest(recipe, sources, place, shards))


def _choose(recipe: Recipe, sources: Sequence[Source]) -> dict[Job, Split]:
    """Every job and its split; of a source with a limit, the first ones of its own random order."""
    chosen: dict[Job, Split] = {}
    for number, (source, wanted) in enumerate(zip(sources, recipe.sources, strict=True)):
        found = [(key, split) for split in wanted.only or Split for key in source.keys(split)]
        if wanted.limit is not None:
            found = sorted(found, key=lambda pair: _order(recipe.seed, "limit", source.name, pair[0]))[: wanted.limit]
        for key, split in found:
            if chosen.setdefault(Job(number, key), split) is not split:
                raise SourceUnavailable(f"{key} of {source.name} is in two splits: {chosen[Job(number, key)]}, {split}")
    return chosen


def _order(seed: int, purpose: str, source: str, key: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{purpose}\n{source}\n{key}".encode(errors="surrogateescape")).digest()


def _digest(recipe: Recipe, sources: Sequence[Source], place: Place, shards: Sequence[ShardPlan]) -> str:
    """sha256 over everything that decides the bytes of the shards; labellers check that they can work."""
    used = [labeller_kind(labeller.kind).fetch(labeller.options, place) for labeller in recipe.labellers]
    told: Mapping[str, object] = {
        "version": _VERSION,
        "recipe": recipe.plain(),
        "origins": [source.origin for source in sources],
        "labellers": used,
        "shards": [[shard.name, *([job.source, job.key] for job in shard.jobs)] for shard in shards],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
