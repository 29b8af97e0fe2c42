"""`python -m tests.fuzz`: ten thousand requests that nobody should send, to a service on loopback that is made for it.

A third of them is schemathesis's, from the service's description; the others are ours: forms, filters, files, and
queries with all that they may have. The same seed makes the same requests. Exits with 1 if any
answer is a failure of the service, if one takes longer than 10 s, or if memory grows by more than 1 MiB a thousand
requests after the warm-up.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import httpx

from tests.fuzz.described import Described, run_described
from tests.fuzz.furnishing import fresh_service, furnish
from tests.fuzz.running import KINDS, Found, Outcome, made, run, send
from tests.fuzz.sent import MAX_SECONDS

MAX_GROWTH = 1.0
_SHOWN = 20


@click.command()
@click.option("--requests", type=click.IntRange(1), default=10_000, show_default=True, help="In all, about.")
@click.option("--seconds", type=click.IntRange(10), default=600, show_default=True, help="Stop after this long.")
@click.option("--seed", default=0, show_default=True)
@click.option("--described/--no-described", default=True, show_default=True, help="Have schemathesis send a third.")
@click.option("--only", metavar="KIND:NUMBER", help=f"Send one request again; kinds are {', '.join(KINDS)}.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("runs/fuzz"), show_default=True)
def main(requests: int, seconds: int, seed: int, described: bool, only: str | None, out: Path) -> None:
    """Fuzz a service of its own on loopback."""
    out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + seconds
    with TemporaryDirectory(prefix="anyseek-fuzz-") as folder:
        if only:
            sys.exit(_again(Path(folder), seed, only, out))
        with fresh_service(Path(folder)) as service:
            asked = run_described(service.url, seed, requests // 3, seconds // 2) if described else None
            furnish(service.url)
            outcome = run(service, seed, 0, requests * 2 // 3 if described else requests, ends)
            (out / "service.log").write_text(service.log)
            wrong = _tell(outcome, service.url, seed, out) | (asked is not None and _tell_described(asked, seed))
    sys.exit(wrong)


def _tell(outcome: Outcome, url: str, seed: int, out: Path) -> bool:
    """Print what came of it; whether anything is wrong."""
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(outcome.statuses.items()))
    growth = "too few to tell" if outcome.growth is None else f"{outcome.growth:+.2f} MiB a thousand requests"
    seconds, slowest = outcome.slowest
    click.echo(f"{outcome.requests:,} requests, seed {seed}: {statuses}")
    click.echo(f"the slowest, {slowest}, took {seconds:.1f} s; memory {growth}")
    for found in outcome.found[:_SHOWN]:
        _tell_one(found, url, seed, out)
    click.echo(f"{len(outcome.found)} wrong")
    return bool(outcome.found) or (outcome.growth or 0) > MAX_GROWTH


def _tell_one(found: Found, url: str, seed: int, out: Path) -> None:
    body = out / f"{found.kind}-{found.number}.body"
    body.write_bytes(found.sent.body)
    click.echo(f"WRONG {found.kind}:{found.number}: {found.sentence}")
    click.echo(f"  again: python -m tests.fuzz --seed {seed} --only {found.kind}:{found.number}")
    click.echo(f"  or: {found.sent.curl(url, str(body))}")


def _tell_described(asked: Described, seed: int) -> bool:
    click.echo(f"{asked.requests:,} requests by schemathesis, seed {seed}, before these")
    if not asked.is_well:
        click.echo(asked.report)
    return not asked.is_well


def _again(folder: Path, seed: int, only: str, out: Path) -> int:
    kind, _, number = only.partition(":")
    if kind not in KINDS or not number.isdecimal():
        raise click.BadParameter(f"{only} is not KIND:NUMBER, as in forms:17", param_hint="--only")
    outcome = Outcome()
    with fresh_service(folder) as service, httpx.Client(base_url=service.url, timeout=MAX_SECONDS) as http:
        send(http, kind, int(number), made(kind, seed, int(number)), outcome)
        return _tell(outcome, service.url, seed, out)


if __name__ == "__main__":
    main()
