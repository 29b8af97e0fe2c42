"""Helpers of benchmarks: options, tables in Markdown, stored results, the machine, and calls in their own process."""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MEASUREMENTS = ROOT / "docs" / "measurements"


def option_parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Parser of `python -m benchmarks.COMMAND` with the option `--json`; the help shows the description as written."""
    parser = argparse.ArgumentParser(
        f"python -m benchmarks.{command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON on one line instead of tables")
    return parser


def comma_separated_ints(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def machine() -> dict[str, Any]:
    """Cores, Python version, date and load, as reports name them."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
    }


def write_result(name: str, command: str, measure: Callable[[], Mapping[str, Any]]) -> None:
    """Store what `measure` returns in `MEASUREMENTS`, with the command, the commit of the checkout and the machine."""
    commit = _git("rev-parse", "--short=8", "HEAD") + ("-dirty" if _git("status", "--porcelain", "-uno") else "")
    result = {"command": command, "commit": commit, "machine": machine(), **measure()}
    (MEASUREMENTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def read_result(name: str) -> dict[str, Any]:
    """The result that `write_result` stored."""
    result: dict[str, Any] = json.loads((MEASUREMENTS / f"{name}.json").read_text(encoding="utf-8"))
    return result


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table without a final line break."""
    lines = (f"| {' | '.join(map(str, cells))} |" for cells in (header, *rows))
    return "\n".join((next(lines), "|---" * len(header) + "|", *lines))


def record_table(records: Iterable[Mapping[str, Any]]) -> str:
    """A Markdown table with a column for each key of any record; a dash where a record lacks the key."""
    records = list(records)
    keys = list(dict.fromkeys(key for record in records for key in record))
    return markdown_table(
        [key.replace("_", " ") for key in keys], [[record.get(key, "-") for key in keys] for record in records]
    )


def call_in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function in a new process, so that its memory and open files are its own; return its result."""
    import multiprocessing  # here, because `benchmarks.starting` times imports

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)
