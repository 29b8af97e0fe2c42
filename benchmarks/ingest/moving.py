"""How long a library takes that was indexed before: unchanged, moved, copied elsewhere, taken apart. docs/indexing.md.

    python -m benchmarks.ingest.moving [--json] [--files 10000]

The files are tiny PNGs and the model is hashing, so what is measured is the indexer's own work. A photo that
has to be read and hashed costs some milliseconds more.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anyseek.indexer import stamps
from anyseek.indexer.indexing import open_collection
from anyseek.indexer.placing import place
from anyseek.indexer.runs import Tools
from anyseek.indexer.sources.opening import open_source
from anyseek.model.hashing import HashingEmbedder
from anyseek.search.catalogue.jobs import Job
from anyseek.search.settings import Settings
from benchmarks.ingest.rates import index, installation, make_tiny

PER = 10_000


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=PER, help="how many, at least 4")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report = measure(Path(scratch), arguments.files)
    report["machine"] = f"{os.cpu_count()} cores, {platform.machine()}"
    print(json.dumps(report) if arguments.json else "\n".join(_as_text(report)))


def measure(scratch: Path, files: int) -> dict[str, Any]:
    """Seconds for 10,000 files of each way in which a library is indexed again, and what became of its files."""
    photos = scratch / "photos"
    make_tiny(photos, files)
    time.sleep(stamps.SETTLED_NS / 1e9)
    tools = installation(Settings(scratch / "home"), HashingEmbedder())
    steps: dict[str, Callable[[], Path]] = {
        "new": lambda: photos,
        "unchanged": lambda: photos,
        "renamed folder": lambda: photos.rename(scratch / "renamed"),
        "copied, old one deleted": lambda: _copied(scratch / "renamed", scratch / "copied"),
        "unchanged, just copied": lambda: scratch / "copied",
        "half of the files in a new folder": lambda: _half(scratch / "copied", scratch / "half"),
    }
    found = {name: _timed(tools, step(), files) for name, step in steps.items()}
    tools.database.close()
    return {"files": files, "steps": found}


def _timed(tools: Tools, folder: Path, files: int) -> dict[str, Any]:
    wall, processor = time.perf_counter(), time.process_time()
    place(tools.database, open_collection(tools, "c"), open_source(tools.settings, folder))
    job = index(tools, folder)
    found = _inputs(job)
    scale = PER / found
    return {
        "seconds": round((time.perf_counter() - wall) * scale, 2),
        "processor_seconds": round((time.process_time() - processor) * scale, 2),
        "indexed": job.counts.indexed,
        "unchanged": job.counts.unchanged,
        "of": files,
    }


def _inputs(job: Job) -> int:
    return max(1, job.counts.settled)


def _copied(before: Path, after: Path) -> Path:
    shutil.copytree(before, after, copy_function=shutil.copyfile)
    shutil.rmtree(before)
    return after


def _half(before: Path, after: Path) -> Path:
    """Every second file, under another name."""
    after.mkdir()
    for number, path in enumerate(sorted(before.rglob("*.png"))):
        if number % 2:
            path.rename(after / f"moved-{path.name}")
    return after


def _as_text(report: dict[str, Any]) -> list[str]:
    lines = [f"{report['files']:,} files, {report['machine']}; seconds for {PER:,} files"]
    for name, step in report["steps"].items():
        numbers = f"indexed {step['indexed']:,}, unchanged {step['unchanged']:,}"
        lines.append(f"{name:<36} {step['seconds']:>8} s, processor {step['processor_seconds']:>7} s   {numbers}")
    return lines


if __name__ == "__main__":
    main()
