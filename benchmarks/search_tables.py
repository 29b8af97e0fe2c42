"""The report of `benchmarks/search.py` as tables of Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def as_tables(report: Mapping[str, Any]) -> str:
    """What a person reads, and what docs/indexes.md shows; `--json` has the same numbers."""
    machine, made = report["machine"], report["made"]
    route = "written to the catalogue directly" if made["bulk"] else "written by the product"
    return "\n".join(
        [
            f"{made['vectors']:,} vectors of {made['dimension']}, {route}: filled in {made['seconds']['filling']:g} s, "
            f"index built and written in {made['seconds']['building']:g} s; index {report['index']}; "
            f"{machine['cores']} cores, load {machine['load']:g} to {machine['load_after']:g}, "
            f"FAISS {machine['faiss']}, {machine['date']}",
            "",
            *_table(_searches(report["searches"])),
            "",
            *_table(report["http"]),
            "",
            *_table({"while": name, **row} for name, row in report["inserting"].items()),
            "",
            *_table({"restart": name, **row} for name, row in report["restart"].items()),
        ]
    )


def _searches(searches: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterable[Mapping[str, Any]]:
    """Each with what it takes of the first of its filter: raw FAISS, or else the index behind the seam."""
    for filtered, rows in searches.items():
        first = next(iter(rows.values()))
        for name, row in rows.items():
            times = {"times_p50": _ratio(row, first, "p50_ms"), "times_cpu": _ratio(row, first, "cpu_p50_ms")}
            yield {"filter": filtered, "searched by": name, **row, **times}


def _ratio(row: Mapping[str, float], first: Mapping[str, float], name: str) -> float:
    return round(row[name] / first[name], 2) if first[name] else 0.0


def _table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A column for each name in any row, in the order in which they come; a dash where a row has none."""
    held = list(rows)
    names = list(dict.fromkeys(name for row in held for name in row))
    return [
        _line([name.replace("_", " ") for name in names]),
        _line(["---"] * len(names)),
        *(_line([str(row.get(name, "-")) for name in names]) for row in held),
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
