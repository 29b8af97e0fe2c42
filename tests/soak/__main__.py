"""`python -m tests.soak --minutes 60`: an hour that stands for a day of a small library, on loopback.

Four clients put, ask and delete while the service is killed, re-embeds and writes snapshots. Fewer minutes do their
share of everything. At the end the service must have exactly what the clients put, find it, and `anyseek verify` must
agree. Prints what was done and how fast memory, descriptors, disk and log grew; exits with 1 if anything was wrong.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import click

from anyseek import Client, Part
from tests.soak.clients import Truth, work
from tests.soak.operator import Operator
from tests.soak.plan import CLIENTS, Plan
from tests.soak.service import COLLECTION, Soaked
from tests.soak.slopes import Sample, Slope, of_longest_life, second_half, slopes_of

_OF_PROCESS = ("memory", "descriptors")
_OF_DISK = ("database", "write-ahead log", "indexes", "assets", "log", "rows of the log")
_ASKED_AT_THE_END = 200
_SHOWN = 20


@click.command()
@click.option("--minutes", type=click.FloatRange(0.05), default=60.0, show_default=True, help="60 stand for a day.")
@click.option("--seed", default=0, show_default=True)
def main(minutes: float, seed: int) -> None:
    """Soak a service of its own on loopback."""
    plan = Plan.of(minutes)
    with TemporaryDirectory(prefix="anyseek-soak-") as folder:
        wrong = soak(Path(folder), plan, seed)
    for sentence in wrong[:_SHOWN]:
        click.echo(f"WRONG: {sentence}")
    click.echo(f"{len(wrong)} wrong")
    sys.exit(bool(wrong))


def soak(folder: Path, plan: Plan, seed: int) -> list[str]:
    """Run the plan in `folder` and print what came of it. Returns a sentence for each thing that was wrong."""
    service, truths = Soaked(folder), [Truth() for _ in range(CLIENTS)]
    service.start()
    try:
        with Client(service.url, patience=60) as client:
            client.create_collection(COLLECTION)
        operator, seconds = _run(service, plan, seed, truths)
        wrong = [*operator.wrong, *(sentence for truth in truths for sentence in truth.wrong)]
        with Client(service.url, timeout=60) as client:
            wrong += compared(client, {key: each for truth in truths for key, each in truth.held.items()}, seed)
    finally:
        service.stop()
    wrong += _verified(service)
    _tell(plan, operator, truths, seconds)
    return wrong


def compared(client: Client, held: dict[str, str], seed: int) -> Iterator[str]:
    """A sentence for each item that is lost, wrong or there too much, or that is not found."""
    there = {item["key"]: item["caption"] for item in client.items(COLLECTION)}
    for key in held.keys() | there.keys():
        if there.get(key) != held.get(key):
            yield f"the item {key} is {there.get(key)!r} instead of {held.get(key)!r}"
    for key in Random(seed).sample(sorted(held), min(_ASKED_AT_THE_END, len(held))):
        if key != client.query(COLLECTION, Part(item=key), k=1).hits[0].key:
            yield f"the item {key} is not the nearest to itself at the end"


def _run(service: Soaked, plan: Plan, seed: int, truths: Sequence[Truth]) -> tuple[Operator, float]:
    """All threads until the clients are done; what the operator saw, and how many seconds it took."""
    began, operator = time.monotonic(), Operator(service, plan, truths)
    clients = [
        threading.Thread(target=work, args=(service.url, number, plan, seed, truth))
        for number, truth in enumerate(truths)
    ]
    others = [threading.Thread(target=operator.operate), threading.Thread(target=operator.sample)]
    for thread in (*clients, *others):
        thread.start()
    for thread in (*clients, others[0]):
        thread.join()
    operator.finish()
    others[1].join()
    return operator, time.monotonic() - began


def _verified(service: Soaked) -> Iterator[str]:
    command = [sys.executable, "-c", "from anyseek.api.cli import main; main()", "verify", "--originals"]
    environment = {**os.environ, "ANYSEEK_HOME": str(service.home), "ANYSEEK_MODEL": "hashing"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    click.echo(f"anyseek verify: {done.stdout.strip().splitlines()[-1] if done.stdout.strip() else 'nothing said'}")
    if done.returncode:
        yield f"anyseek verify ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"


def _tell(plan: Plan, operator: Operator, truths: Sequence[Truth], seconds: float) -> None:
    did = {name: sum(truth.done[name] for truth in truths) for name in ("put", "query", "delete")}
    click.echo(
        f"{plan.minutes:g} of 60 minutes, in {seconds / 60:.1f}: {did['put']:,} puts, {did['query']:,} queries, "
        f"{did['delete']:,} deletes; {operator.moves} re-embeddings, {operator.kills} kills, "
        f"{len(operator.snapshots)} snapshots seen; {sum(truth.again for truth in truths):,} requests sent again; "
        f"{sum(len(truth.held) for truth in truths):,} items at the end"
    )
    for line in table(operator.samples):
        click.echo(line)


def table(samples: Sequence[Sample]) -> Iterator[str]:
    """The slopes in Markdown; of the process in its longest life, of the disk in the second half."""
    yield "| | first | last | most | growth in 1,000 operations |"
    yield "|---" * 5 + "|"
    slopes: list[Slope] = []
    for names, kept in ((_OF_PROCESS, of_longest_life(samples)), (_OF_DISK, second_half(samples))):
        slopes += slopes_of(kept, names)
    for slope in slopes:
        unit = "" if slope.name in ("descriptors", "rows of the log") else " MiB"
        numbers = f"{slope.first:,.1f} | {slope.last:,.1f} | {slope.most:,.1f} | {slope.growth:+,.2f}"
        yield f"| {slope.name}{unit} | {numbers} |"


if __name__ == "__main__":
    main()
