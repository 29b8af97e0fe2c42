"""Try what one machine can hold, and say what it took."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.scale import pictures, vectors
from benchmarks.search.__main__ import search_rows, table
from benchmarks.search.gallery import Gallery

_MB = 1_000_000


def try_pictures(home: Path, count: int, workers: int, as_json: bool) -> None:
    """Print what so many pictures took; see `benchmarks.scale.pictures.measure`."""
    told = _where() | pictures.measure(home, count, workers)
    print(json.dumps(told) if as_json else of_pictures(told), flush=True)


def try_vectors(home: Path, count: int, dimension: int, queries: int, inserted: int, bulk: bool, as_json: bool) -> None:
    """Print what so many vectors took; see `benchmarks.scale.vectors.measure`."""
    told = _where() | vectors.measure(home, Gallery(count, dimension), queries, inserted, bulk)
    print(json.dumps(told) if as_json else of_vectors(told), flush=True)


def of_pictures(told: Mapping[str, Any]) -> str:
    """The report of `benchmarks.scale.pictures.measure`."""
    indexing, sizes = told["indexing"], told["bytes"]
    first, last = indexing["paces"]
    seconds = f"{indexing['scan_seconds']:.0f} s to list, {indexing['work_seconds']:.0f} s to index"
    return "\n".join(
        [
            f"{told['pictures']:,} pictures made in {told['made_seconds']:.0f} s, {told['workers']} processes, "
            f"{_machine(told)}",
            f"indexed {indexing['indexed']:,}, quarantined {indexing['quarantined']:,}: "
            f"{indexing['items_a_second']:.1f} items a second, {indexing['processor_ms_an_item']:.2f} ms of a core "
            "for each",
            f"{seconds}, {indexing['snapshot_seconds']:.0f} s for the index; items a second of the first fifth "
            f"{first:.0f}, of the last {last:.0f}",
            "MB on the disk: " + ", ".join(f"{name} {size / _MB:,.0f}" for name, size in sizes.items()),
            "",
            *table(_taken(told)),
        ]
    )


def of_vectors(told: Mapping[str, Any]) -> str:
    """The report of `benchmarks.scale.vectors.measure`."""
    made, building, inserting = told["made"], told["building"], told["inserting"]
    filling = max(made["seconds"]["filling"], 0.1)
    route = "written to the catalogue directly" if made["bulk"] else "written by the product"
    return "\n".join(
        [
            f"{made['vectors']:,} vectors of {made['dimension']}, {route}, {_machine(told)}",
            f"filled in {filling:g} s ({made['vectors'] / filling:,.0f} a second), index built and written in "
            f"{made['seconds']['building']:g} s: {_stages(building['seconds'])}; {building['peak_mb']:,} MB at most",
            "MB on the disk: " + ", ".join(f"{name} {size / _MB:,.0f}" for name, size in told["bytes"].items()),
            "",
            *table({"restart": name, **row} for name, row in told["restart"].items()),
            "",
            *table(search_rows(told["searches"]["rows"])),
            f"{told['searches']['peak_mb']:,} MB at most, with the copy of all vectors that raw FAISS takes",
            "",
            f"then {inserting['items']:,} items put at {inserting['items_a_second']:,} a second, each batch found "
            f"after {inserting['found_after_ms_most']:g} ms at most; a snapshot with them in "
            f"{inserting['snapshot_seconds']:g} s: {_stages(inserting['snapshot_stages'])}; "
            f"{inserting['peak_mb']:,} MB at most",
        ]
    )


def _taken(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("indexing", "verify", "unchanged"):
        row = told[name]
        yield {
            "command": name,
            "seconds": round(row["seconds"], 1),
            "processor_seconds": round(row["processor_seconds"], 1),
            "MB of the largest process": round(row["peak_mb"]),
            "MB of all": round(row["peak_mb_of_all"]),
        }


def _stages(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{stage} {spent:g} s" for stage, spent in seconds.items())


def _machine(told: Mapping[str, Any]) -> str:
    return f"{told['cores']} cores, load {told['load']:g} at the start"


def _where() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
