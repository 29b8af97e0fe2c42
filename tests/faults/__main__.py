"""`python -m tests.faults --seeds 0-9 --inputs 5000 --append FILE.jsonl`: every fault with every seed, a row each.

It needs PostgreSQL, Redis and RabbitMQ installed, and starts its own. What the file has already is not run again, so
that a long record may be made in several sittings. Ends with the table for docs/reliability.md; exits with 1 if any row
is not as it should be.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.faults.disk import NoSmallDisk
from tests.faults.run import FAULTS, Row, run
from tests.faults.servers import Servers, private_servers

_COLUMNS = ("inputs", "bad", "injected", "lost", "doubled", "quarantined")


@click.command()
@click.option("--seeds", default="0", show_default=True, help="One, or the first and the last as 0-9.")
@click.option("--inputs", type=click.IntRange(100), default=5_000, show_default=True, help="In each run.")
@click.option("--faults", "which", default="", help="Only those whose names begin with one of these characters.")
@click.option("--append", "record", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(seeds: str, inputs: int, which: str, record: Path) -> None:
    names = [name for name in FAULTS if not which or name[0] in which]
    with private_servers() as servers:
        for seed in _numbers(seeds):
            for name in names:
                if (name, seed, inputs) not in {(row.fault, row.seed, row.asked) for row in read(record)}:
                    _run_and_append(name, seed, inputs, servers, record)
    rows = [row for row in read(record) if row.asked == inputs]
    click.echo("\n".join(table(rows)))
    sys.exit(not all(row.is_well for row in rows))


def read(record: Path) -> list[Row]:
    """The rows of the file, none if there is none."""
    lines = record.read_text().splitlines() if record.exists() else []
    return [Row(**{**values, "wrong": tuple(values["wrong"])}) for values in map(json.loads, lines)]


def table(rows: list[Row]) -> Iterator[str]:
    """Sums by fault, in Markdown."""
    yield "| fault | runs | " + " | ".join(_COLUMNS) + " | seconds |"
    yield "|---" * (len(_COLUMNS) + 3) + "|"
    for name in FAULTS:
        if of_it := [row for row in rows if row.fault == name]:
            sums = [f"{sum(getattr(row, column) for row in of_it):,}" for column in _COLUMNS]
            seconds = f"{sum(row.seconds for row in of_it) / len(of_it):.0f} each"
            yield f"| {name} | {len(of_it)} | {' | '.join(sums)} | {seconds} |"


def _run_and_append(name: str, seed: int, inputs: int, servers: Servers, record: Path) -> None:
    click.echo(f"{name}, seed {seed}, {inputs} inputs: ", nl=False)
    with TemporaryDirectory(prefix="anyseek-fault-") as folder:
        try:
            row = run(name, seed, inputs, Path(folder), servers)
        except NoSmallDisk as error:
            click.echo(f"not run: {error}")
            return
    with record.open("a") as file:
        file.write(json.dumps(asdict(row)) + "\n")
    click.echo("well" if row.is_well else f"NOT WELL: {row}")


def _numbers(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    main()
