"""Sends made requests to a service, one after the other, and keeps what is wrong."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import httpx
import numpy as np

from tests.fuzz import files, filters, forms, queries
from tests.fuzz.furnishing import furnish
from tests.fuzz.sent import MAX_SECONDS, Sent, wrong_with
from tests.services.anyseek import Anyseek

KINDS: Mapping[str, Callable[[Random], Sent]] = {
    "forms": forms.make,
    "filters": filters.make,
    "files": files.make,
    "queries": queries.make,
}
# By then each kind has sent the most costly of its requests; memory that they took once is kept for the next.
WARM_UP, SAMPLE_EVERY = 4_500, 50
_STRETCHES = 8


@dataclass(frozen=True)
class Found:
    """Something wrong: the kind and number of the request, and one sentence."""

    kind: str
    number: int
    sentence: str
    sent: Sent


@dataclass
class Outcome:
    """What came of a run: answers by status, what was wrong, the slowest and its seconds, memory in MiB by requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    found: list[Found] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "none")
    memory: list[tuple[int, float]] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return self.statuses.total()

    @property
    def growth(self) -> float | None:
        """MiB for each thousand requests after the warm-up; None of too few.

        The lower quartile of what it is in each of eight stretches: a leak grows in all of them, and what is taken once
        and kept, such as a buffer for the largest picture so far, is a step in one.
        """
        kept = [(count, held) for count, held in self.memory if count >= WARM_UP]
        if len(kept) < 5 * _STRETCHES:
            return None
        stretches = [part[-1] - part[0] for part in np.array_split(np.array(kept), _STRETCHES)]
        return float(1_000 * np.quantile([held / count for count, held in stretches], 0.25))


def made(kind: str, seed: int, number: int) -> Sent:
    """The request of a kind that a seed and a number stand for."""
    return KINDS[kind](Random(f"{seed} {kind} {number}"))


def run(service: Anyseek, seed: int, first: int, requests: int, ends: float) -> Outcome:
    """Send the requests of all kinds by turns until `ends`, a time of `time.monotonic`."""
    outcome = Outcome()
    with httpx.Client(base_url=service.url, timeout=MAX_SECONDS) as http:
        for count in range(requests):
            if time.monotonic() > ends:
                break
            kind, number = list(KINDS)[count % len(KINDS)], first + count // len(KINDS)
            send(http, kind, number, made(kind, seed, number), outcome)
            if count % SAMPLE_EVERY == 0:
                outcome.memory.append((count, service.usage().memory))
            if count % 500 == 499:
                furnish(service.url)
    return outcome


def send(http: httpx.Client, kind: str, number: int, sent: Sent, outcome: Outcome) -> None:
    """Send one request and note what is wrong."""
    began = time.monotonic()
    try:
        answer = sent.to(http)
        status, sentence = answer.status_code, wrong_with(answer)
    except httpx.TimeoutException:
        status, sentence = 0, f"no answer in {MAX_SECONDS:.0f} s"
    except httpx.HTTPError as error:
        status, sentence = 0, f"no answer: {type(error).__name__} {error}"
    outcome.slowest = max(outcome.slowest, (time.monotonic() - began, f"{kind}:{number}"))
    outcome.statuses[status] += 1
    if sentence:
        outcome.found.append(Found(kind, number, sentence, sent))
