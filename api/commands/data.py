"""`anyseek data`: build, show and verify training data."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from anyseek.api.commands.output import say
from anyseek.search.settings import read_settings

if TYPE_CHECKING:
    from anyseek.model.data.build import Progress
    from anyseek.model.data.making import Failure

_DONE, _SOME_FAILED = 0, 3
_FAILURES_SHOWN = 20
_SECONDS_BETWEEN_LINES = 10.0
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def data() -> None:
    """Build, show and verify training data: shards of aligned modalities."""


@data.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The data set's folder.")
@click.option(
    "--workers", type=click.IntRange(1), help="Number of processes that make samples; one per core by default."
)
def build(recipe: Path, out: Path, workers: int | None) -> int:
    """Make the data set of RECIPE, a YAML file. Paths in it are relative to the current folder.

    Run the command again to resume a build that was stopped or killed; it ends in the same bytes. A sample that
    cannot be made is left out and listed, with the reason, in failures.jsonl.

    Exits with 0 if every sample was made, 3 if some were not, 1 if it failed, 2 for an invalid recipe.
    """
    from anyseek.model.data.build import build as build_dataset
    from anyseek.model.data.build import read_failures
    from anyseek.model.data.errors import RecipeInvalid
    from anyseek.model.data.recipe import read_recipe

    started = time.monotonic()
    try:
        parsed = read_recipe(recipe)
    except RecipeInvalid as error:
        raise click.UsageError(str(error)) from error
    with _progress_bar() as progress:
        dataset = build_dataset(parsed, out, read_settings().home, workers or len(os.sched_getaffinity(0)), progress)
    counts = ", ".join(f"{split} {sum(shard.samples for shard in shards)}" for split, shards in dataset.splits.items())
    say(f"{dataset.name}: {counts}; {dataset.failures} failed; {time.monotonic() - started:.1f} s; {out}")
    if dataset.failures:
        say(*_failure_summary(read_failures(out)), err=True)
    return _SOME_FAILED if dataset.failures else _DONE


@data.command()
@click.argument("folder", type=_FOLDER)
def show(folder: Path) -> None:
    """Show what is in the data set in FOLDER: splits, modalities, classes, licences and failures."""
    from anyseek.model.data.build import read_failures
    from anyseek.model.data.shards import open_dataset

    dataset = open_dataset(folder)
    say(f"{dataset.name}  short side at most {dataset.image_size} px  digest {dataset.digest}")
    for split, shards in dataset.splits.items():
        samples, size = sum(s.samples for s in shards), sum(s.size for s in shards)
        say(f"{split:10s} {samples:8,} samples  {len(shards):4} shards  {size / 1e6:9.1f} MB")
    say("modalities")
    for modality, count in sorted(dataset.modalities.items()):
        classes = len(dataset.classes.get(modality, {}))
        say(f"  {modality:22s} {count:8,}" + (f"  {classes} classes" if classes else ""))
    for source in dataset.sources:
        counts = ", ".join(f"{split} {count}" for split, count in source.samples.items())
        say(f"source {source.name} ({source.kind}, weight {source.weight:g}): {counts or 'no samples'}")
        say(f"  from     {source.origin}", f"  licence  {source.licence}")
    if dataset.failures:
        say(*_failure_summary(read_failures(folder)))


@data.command()
@click.argument("folder", type=_FOLDER)
def verify(folder: Path) -> int:
    """Check every shard and every value of the data set in FOLDER. Exits with 0 if all is well, else 1 and a list."""
    from anyseek.model.data.build import verify as find_problems
    from anyseek.model.data.shards import open_dataset

    dataset = open_dataset(folder)
    problems = 0
    for problem in find_problems(dataset):
        problems += 1
        say(problem, err=True)
    samples = sum(shard.samples for shards in dataset.splits.values() for shard in shards)
    say(f"{dataset.name}: {samples} samples, {problems} problems")
    return 1 if problems else _DONE


def _failure_summary(failures: "list[Failure]") -> list[str]:
    """The number of failures at each step of each source, and the first failure of each."""
    steps = Counter((failure.source, failure.step) for failure in failures)
    lines = [f"{count} failed: {source}, {step}" for (source, step), count in steps.most_common()]
    shown = failures[:_FAILURES_SHOWN]
    lines += [f"  {failure.source} {failure.key}: {failure.reason} [{failure.step}]" for failure in shown]
    hidden = len(failures) - _FAILURES_SHOWN
    return [*lines, *([f"  and {hidden} more, all in failures.jsonl"] if hidden > 0 else [])]


@contextmanager
def _progress_bar() -> "Iterator[Progress]":
    """A progress callback that writes to stderr: a bar on a terminal, else occasional lines."""
    last = 0.0
    with tqdm(desc="building", unit=" samples", dynamic_ncols=True, disable=not sys.stderr.isatty()) as bar:

        def report(settled: int, total: int, failures: "Sequence[Failure]") -> None:
            nonlocal last
            if not bar.disable:
                if bar.total is None:
                    bar.reset(total)
                    bar.initial = settled  # made by an earlier run
                bar.n = settled
                bar.set_postfix(failed=len(failures))
            elif not last:
                last = time.monotonic()
                say(f"{total} samples to make" + (f", {settled} of them made before" if settled else ""), err=True)
            elif time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                say(f"{settled} of {total} samples, {len(failures)} failed", err=True)

        yield report
