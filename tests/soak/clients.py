"""Clients that put, ask and delete, each with keys of its own, and know what must be there."""

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

import numpy as np
from PIL import Image

from anyseek import ApiError, Client, Part
from anyseek.api.errors import ServiceUnreachable
from tests.soak.plan import CLIENTS, Plan
from tests.soak.service import COLLECTION

_WORDS = "red green blue old new large small round dog cat house tree road river cloud boat lamp chair".split()  # noqa: SIM905
_PATIENCE_SECONDS = 180.0
_PICTURED = 0.1  # of the puts, a file comes along


@dataclass
class Truth:
    """What one client put and did not delete, by key, with its caption; what it did; what was wrong."""

    held: dict[str, str] = field(default_factory=dict)
    pictured: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    again: int = 0
    """requests that were sent again because the service was dead or starting"""
    wrong: list[str] = field(default_factory=list)


def work(url: str, number: int, plan: Plan, seed: int, truth: Truth) -> None:
    """Do this client's share of the plan, evenly over its minutes; behind schedule, without a pause."""
    random = Random(f"{seed} {number}")
    operations = _operations(random, plan)
    began, seconds = time.monotonic(), 60 * plan.minutes / max(1, len(operations))
    with Client(url, timeout=60, patience=_PATIENCE_SECONDS) as client:
        for count, name in enumerate(operations):
            time.sleep(max(0.0, began + count * seconds - time.monotonic()))
            for _ in _tries(client, random, number, plan, truth, name):
                time.sleep(0.2)
            truth.done[name] += 1


def _operations(random: Random, plan: Plan) -> list[str]:
    """The names of this client's operations; half of its keys are put before anything else."""
    first = plan.keys // CLIENTS // 2
    puts = max(0, plan.puts // CLIENTS - first)
    others = ["put"] * puts + ["query"] * (plan.queries // CLIENTS) + ["delete"] * (plan.deletes // CLIENTS)
    random.shuffle(others)
    return ["put"] * first + others


def _tries(client: Client, random: Random, number: int, plan: Plan, truth: Truth, name: str) -> Iterator[None]:
    """Do one operation, and yield before each time that it is tried again, the same way."""
    act = _ACTS[name](random, number, plan, truth)
    ends = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return act(client)
        except (ServiceUnreachable, ApiError) as error:
            if isinstance(error, ApiError) and error.status != 503:
                truth.wrong.append(f"{name} was refused: {error}")
                return
            if time.monotonic() > ends:
                truth.wrong.append(f"{name} was not done in {_PATIENCE_SECONDS:.0f} s: {error}")
                return
        truth.again += 1
        yield


Act = Callable[[Client], None]


def _put(random: Random, number: int, plan: Plan, truth: Truth) -> Act:
    key = f"{number}/{random.randrange(plan.keys // CLIENTS)}"
    caption = f"{' '.join(random.choices(_WORDS, k=4))} {random.randrange(10**9)}"
    files = {"rgb": _drawn(random)} if random.random() < _PICTURED else None

    def act(client: Client) -> None:
        client.put_item(COLLECTION, key, files, caption, {"n": random.randrange(100)})
        truth.held[key] = caption
        (truth.pictured.add if files else truth.pictured.discard)(key)

    return act


def _query(random: Random, number: int, plan: Plan, truth: Truth) -> Act:
    """Ask for an item by its words, by itself, or among those that pass a filter; it must be among the first hits."""
    if not truth.held:
        return _put(random, number, plan, truth)
    key, how = random.choice(list(truth.held)), random.random()

    def act(client: Client) -> None:
        asked = Part(item=key) if how < 0.1 or key in truth.pictured else truth.held[key]
        where = "n >= 0" if how > 0.9 else None
        hits = client.query(COLLECTION, asked, k=5, where=where).hits
        if key not in [hit.key for hit in hits]:
            truth.wrong.append(f"the item {key} was not found")

    return act


def _delete(random: Random, number: int, plan: Plan, truth: Truth) -> Act:
    """Delete an item; one that is gone was deleted by the try before, whose answer was lost."""
    if not truth.held:
        return _put(random, number, plan, truth)
    key, tried = random.choice(list(truth.held)), [False]

    def act(client: Client) -> None:
        try:
            client.delete_item(COLLECTION, key)
        except ApiError as error:
            if error.status != 404 or not tried[0]:
                raise
        finally:
            tried[0] = True
        del truth.held[key]

    return act


_ACTS: dict[str, Callable[[Random, int, Plan, Truth], Act]] = {"put": _put, "query": _query, "delete": _delete}


def _drawn(random: Random) -> bytes:
    """A small PNG that is like no other."""
    pixels = np.frombuffer(random.randbytes(16 * 16 * 3), np.uint8).reshape(16, 16, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64)).save(file, "PNG")
    return file.getvalue()
