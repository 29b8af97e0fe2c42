"""Trials of what one machine can hold, as text or JSON."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.reporting import machine, record_table
from benchmarks.scale import pictures, vectors
from benchmarks.search.__main__ import search_rows
from benchmarks.search.gallery import Gallery

_MB = 1_000_000


def try_pictures(home: Path, count: int, workers: int, as_json: bool) -> None:
    """Measure indexing of `count` pictures and print the report."""
    report = machine() | pictures.measure(home, count, workers)
    print(json.dumps(report) if as_json else format_pictures(report), flush=True)


def try_vectors(home: Path, count: int, dimension: int, queries: int, inserted: int, bulk: bool, as_json: bool) -> None:
    """Measure a collection of `count` vectors and print the report."""
    report = machine() | vectors.measure(home, Gallery(count, dimension), queries, inserted, bulk)
    print(json.dumps(report) if as_json else format_vectors(report), flush=True)


def format_pictures(report: Mapping[str, Any]) -> str:
    """The report of `pictures.measure` as text."""
    indexing, sizes = report["indexing"], report["bytes"]
    first, last = indexing["paces"]
    seconds = f"{indexing['scan_seconds']:.0f} s to list, {indexing['work_seconds']:.0f} s to index"
    return "\n".join(
        [
            f"{report['pictures']:,} pictures made in {report['made_seconds']:.0f} s, {report['workers']} processes, "
            f"{_machine(report)}",
            f"indexed {indexing['indexed']:,}, quarantined {indexing['quarantined']:,}: "
            f"{indexing['items_a_second']:.1f} items a second, {indexing['processor_ms_an_item']:.2f} ms of a core "
            "for each",
            f"{seconds}, {indexing['snapshot_seconds']:.0f} s for the index; items a second of the first fifth "
            f"{first:.0f}, of the last {last:.0f}",
            "MB on the disk: " + ", ".join(f"{name} {size / _MB:,.0f}" for name, size in sizes.items()),
            "",
            record_table(_usage_records(report)),
        ]
    )


def format_vectors(report: Mapping[str, Any]) -> str:
    """The report of `vectors.measure` as text."""
    made, building, inserting = report["made"], report["building"], report["inserting"]
    filling = max(made["seconds"]["filling"], 0.1)
    route = "written to the catalogue directly" if made["bulk"] else "written by the product"
    return "\n".join(
        [
            f"{made['vectors']:,} vectors of {made['dimension']}, {route}, {_machine(report)}",
            f"filled in {filling:g} s ({made['vectors'] / filling:,.0f} a second), index built and written in "
            f"{made['seconds']['building']:g} s: {_stages(building['seconds'])}; {building['peak_mb']:,} MB at most",
            "MB on the disk: " + ", ".join(f"{name} {size / _MB:,.0f}" for name, size in report["bytes"].items()),
            "",
            record_table({"restart": name, **row} for name, row in report["restart"].items()),
            "",
            record_table(search_rows(report["searches"]["rows"])),
            f"{report['searches']['peak_mb']:,} MB at most, with the copy of all vectors that raw FAISS takes",
            "",
            f"then {inserting['items']:,} items put at {inserting['items_a_second']:,} a second, each batch found "
            f"after {inserting['found_after_ms_most']:g} ms at most; a snapshot with them in "
            f"{inserting['snapshot_seconds']:g} s: {_stages(inserting['snapshot_stages'])}; "
            f"{inserting['peak_mb']:,} MB at most",
        ]
    )


def _usage_records(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("indexing", "verify", "unchanged"):
        row = report[name]
        yield {
            "command": name,
            "seconds": round(row["seconds"], 1),
            "processor_seconds": round(row["processor_seconds"], 1),
            "MB of the largest process": round(row["peak_mb"]),
            "MB of all": round(row["peak_mb_of_all"]),
        }


def _stages(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{stage} {spent:g} s" for stage, spent in seconds.items())


def _machine(report: Mapping[str, Any]) -> str:
    return f"{report['cores']} cores, load {report['load']:g} at the start"
