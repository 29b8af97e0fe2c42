"""What `anyseek data build` shows: a bar on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Never

import click
from tqdm import tqdm

if TYPE_CHECKING:
    from model.data.build import Progress
    from model.data.making import Failure

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def watched() -> "Iterator[Progress]":
    """Progress on stderr: a bar if that is a terminal, else a line now and then."""
    if sys.stderr.isatty():
        with tqdm(desc="building", unit=" samples", dynamic_ncols=True) as bar:
            yield Bar(bar)
    else:
        yield Lines()


class Bar:
    """Implements `Progress` with tqdm; how many failed stands at its end."""

    def __init__(self, bar: "tqdm[Never]") -> None:
        self._bar = bar
        self._failed = 0

    def started(self, samples: int, done: int) -> None:
        self._bar.reset(total=samples)
        self._bar.initial = self._bar.n = done

    def settled(self) -> None:
        self._bar.update(1)

    def failed(self, failure: "Failure") -> None:
        self._failed += 1
        self._bar.set_postfix(failed=self._failed)


class Lines:
    """Implements `Progress` with plain lines, one every `SECONDS_BETWEEN_LINES`."""

    def __init__(self) -> None:
        self._samples = self._done = self._failed = 0
        self._last = time.monotonic()

    def started(self, samples: int, done: int) -> None:
        self._samples, self._done = samples, done
        click.echo(f"{samples} samples to make" + (f", {done} of them made before" if done else ""), err=True)

    def settled(self) -> None:
        self._done += 1
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            click.echo(f"{self._done} of {self._samples} samples, {self._failed} failed", err=True)

    def failed(self, failure: "Failure") -> None:
        self._failed += 1
