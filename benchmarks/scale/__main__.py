"""Resources for one million, a hundred million and a billion items: `python -m benchmarks.scale`, see docs/scale.md.

    python -m benchmarks.scale                                            # computed from recorded constants
    python -m benchmarks.scale --measure                                  # bytes an item, compared with the recorded
    python -m benchmarks.scale --pictures [200000] [--workers 4]          # trial: an index job
    python -m benchmarks.scale --vectors [5000000] [--dimension 256] [--bulk]   # trial: a large index
    python -m benchmarks.scale --quick                                    # each of the last three, small

With `--measure`, a change of more than a tenth exits with 1. Trials use a temporary folder, which is deleted at the end
or by Ctrl-C; `--home DIR` keeps it, and a repeated run resumes there. Vectors are written by the product; `--bulk`
writes the same rows of the catalogue directly.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.reporting import markdown_table, option_parser
from benchmarks.scale.constants import CONSTANTS, DEADLINE_DAYS, SIZES, value
from benchmarks.scale.worker_failures import Case, average

DAY = 86_400
TOLERANCE = 0.1
LEASES, BATCHES, FAILURES = (10.0, 60.0, 600.0), (8, 32, 256), (600.0, 3_600.0, DAY)
RUNS, SEED = 5, 1
PICTURES, VECTORS = 200_000, 5_000_000
MIN_INSERTED, MAX_INSERTED, VECTORS_AN_INSERTED = 50, 20_000, 50

Row = Sequence[str]


def main() -> int:
    """Measure or try what the options name; without any of these, print the tables."""
    options = _parse_options()
    if options.quick:
        options.measure, options.items = True, min(options.items, 100)
        options.pictures, options.workers, options.vectors, options.dimension = 300, 2, 3_000, 32
    differs = compare(options.items, options.json) if options.measure else 0
    _run_trials(options)
    if not (options.measure or options.pictures or options.vectors):
        recorded = {name: vars(constant) for name, constant in CONSTANTS.items()}
        print(json.dumps(recorded, indent=2) if options.json else markdown())
    return 0 if options.quick else differs


def _parse_options() -> argparse.Namespace:
    parser = option_parser("scale", __doc__)
    parser.add_argument("--measure", action="store_true", help="measure bytes an item here")
    parser.add_argument("--items", type=int, default=1_000, help="size of the generated collection")
    parser.add_argument("--pictures", type=int, nargs="?", const=PICTURES, help="index this many (default 200000)")
    parser.add_argument("--workers", type=int, default=4, help="processes that index them (default 4)")
    parser.add_argument("--vectors", type=int, nargs="?", const=VECTORS, help="index this many (default 5000000)")
    parser.add_argument("--dimension", type=int, default=256, help="numbers of each (default 256)")
    parser.add_argument("--queries", type=int, default=200, help="timed one after another (default 200)")
    parser.add_argument("--bulk", action="store_true", help="write the rows of vectors to the catalogue directly")
    parser.add_argument("--home", type=Path, help="keep the data in this folder (default: a temporary one)")
    parser.add_argument("--quick", action="store_true", help="measure everything with small numbers")
    return parser.parse_args()


def _run_trials(options: argparse.Namespace) -> None:
    from benchmarks.scale.processes import run_in_process
    from benchmarks.scale.trials import try_pictures, try_vectors

    if options.pictures:
        with _trial_home(options.home, "pictures") as home:
            run_in_process(try_pictures, home, options.pictures, options.workers, options.json)
    if options.vectors:
        inserted = min(MAX_INSERTED, max(MIN_INSERTED, options.vectors // VECTORS_AN_INSERTED))
        arguments = (options.vectors, options.dimension, options.queries, inserted, options.bulk)
        with _trial_home(options.home, "vectors") as home:
            run_in_process(try_vectors, home, *arguments, options.json)


@contextmanager
def _trial_home(folder: Path | None, part: str) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="anyseek-scale-") as temporary:
            yield Path(temporary)
    else:
        (folder / part).mkdir(parents=True, exist_ok=True)
        yield (folder / part).resolve()


def compare(items: int, as_json: bool) -> int:
    """Measure and print next to the recorded constants; return 1 if any differs by more than the tolerance."""
    from benchmarks.scale.measuring import measure

    measured = measure(items)
    if as_json:
        print(json.dumps(measured, indent=2))
        return 0
    exit_code = 0
    for name, size in sorted(measured.items()):
        recorded = CONSTANTS[name].value if name in CONSTANTS else None
        differs = recorded is not None and abs(size / recorded - 1) > TOLERANCE
        exit_code = exit_code or int(differs)
        comparison = "" if recorded is None else f"  recorded {recorded:g}{'  DIFFERS' * differs}"
        print(f"{name:22} {size:10.1f}{comparison}")
    return exit_code


def markdown() -> str:
    """All tables, as docs/scale.md has them."""
    return "\n\n".join(
        f"### {title}\n{markdown_table(header, rows)}"
        for title, header, rows in (
            ("Bytes", ("what", *map(_count, SIZES)), storage()),
            ("Memory of the index", ("index", *map(_count, SIZES)), memory()),
            (f"Ingestion in {DEADLINE_DAYS} days", ("what", *map(_count, SIZES)), ingestion()),
            ("Qdrant", ("what", *map(_count, SIZES)), qdrant()),
            ("A re-embedding", ("what", *map(_count, SIZES)), reembedding()),
            (
                "Workers that die",
                ("lease", "batch", "between deaths of a worker", "deaths", "work lost", "time by that without deaths"),
                failures(),
            ),
            ("Constants", ("name", "value", "unit", "where from"), constants()),
        )
    )


def storage() -> Iterator[Row]:
    per_vector = value("dimension") * value("bytes_a_number") + value("log_overhead_bytes")
    yield _sizes("catalogue: items, assets, sources", value("catalogue_bytes"))
    yield _sizes("facets of three attributes", value("facet_bytes"))
    yield _sizes("ledger of the last job", value("ledger_bytes"))
    yield _sizes(f"log: {value('spaces'):g} vectors of {value('dimension'):g}", value("spaces") * per_vector)
    yield _sizes("thumbnails", value("thumbnail_bytes"))
    yield _sizes("originals, where they are stored", value("original_bytes"))
    whole = value("catalogue_bytes") + value("facet_bytes") + value("ledger_bytes") + value("spaces") * per_vector
    yield _sizes("PostgreSQL in all", whole)


def memory() -> Iterator[Row]:
    flat = value("dimension") * value("bytes_a_number")
    spaces = value("spaces")
    yield _sizes("flat", spaces * flat)
    yield _sizes("HNSW32", spaces * (flat + value("hnsw_link_bytes")))
    yield _sizes("IVF, 4-bit fast scan, vectors to refine on the disk", spaces * value("fast_scan_bytes"))
    yield _sizes("Qdrant: int8 and graph, vectors on the disk", spaces * _qdrant_bytes())


def ingestion() -> Iterator[Row]:
    seconds = DEADLINE_DAYS * DAY
    yield ("inputs a second", *(f"{size / seconds:,.1f}" for size in SIZES))
    yield ("4M-21_B, CPU workers of two cores", *(_worker_count(size / seconds, value("cpu_rate")) for size in SIZES))
    yield ("4M-21_B, GPUs", *(_worker_count(size / seconds, _gpu_rate()) for size in SIZES))
    yield ("cores to decode for them", *(_worker_count(size / seconds, value("decode_rate")) for size in SIZES))
    yield (
        "hashing model, workers of two cores",
        *(_worker_count(size / seconds, value("hashing_rate")) for size in SIZES),
    )
    yield ("log entries a second", *(f"{size * value('spaces') / seconds:,.1f}" for size in SIZES))


def qdrant() -> Iterator[Row]:
    """Figures of one space; each space is a Qdrant collection of its own."""
    usable = value("node_memory") * value("node_usable")
    nodes = [
        max(int(value("replicas")), math.ceil(size * _qdrant_bytes() * value("replicas") / usable)) for size in SIZES
    ]
    yield ("shards of a space", *(f"{math.ceil(size / value('shard_vectors')):,}" for size in SIZES))
    yield ("copies of each", *(f"{value('replicas'):g}" for _ in SIZES))
    yield ("memory of a space, all copies", *(_bytes(size * _qdrant_bytes() * value("replicas")) for size in SIZES))
    disk = value("dimension") * (value("bytes_a_number") + value("int8_bytes")) + value("hnsw_link_bytes")
    yield ("disk of a space, all copies", *(_bytes(size * disk * value("replicas")) for size in SIZES))
    yield (f"nodes of {_bytes(value('node_memory'))}", *(f"{count:,}" for count in nodes))


def reembedding() -> Iterator[Row]:
    per_vector = value("dimension") * value("bytes_a_number") + value("log_overhead_bytes")
    hours = [size / _gpu_rate() / 3_600 for size in SIZES]
    cpu = [size / value("cpu_rate") / 3_600 for size in SIZES]
    yield ("GPU hours", *(f"{amount:,.1f}" for amount in hours))
    yield ("dollars on GPUs", *(f"{amount * value('gpu_hour'):,.0f}" for amount in hours))
    yield ("hours of two cores", *(f"{amount:,.0f}" for amount in cpu))
    yield ("dollars on them", *(f"{amount * value('cpu_hour'):,.0f}" for amount in cpu))
    yield _sizes("log beside the old one, until `forget-old`", value("spaces") * per_vector)
    yield _sizes("originals to read again", value("original_bytes"))
    yield ("items made while writers wait", *("32 at most" for _ in SIZES))


def failures() -> Iterator[Row]:
    for between in FAILURES:
        for lease in LEASES:
            for batch in BATCHES:
                mean = average(Case(lease, batch, between), RUNS, SEED)
                case = (f"{lease:g} s", f"{batch}", _duration(between))
                yield (*case, f"{mean.deaths:,}", f"{mean.wasted:.2%}", f"{mean.longer:.3f}")


def constants() -> Iterator[Row]:
    for name, constant in CONSTANTS.items():
        yield (f"`{name}`", f"{constant.value:,.4g}", constant.unit, constant.where)


def _gpu_rate() -> float:
    return value("gpu_gflops") / value("picture_gflop")


def _qdrant_bytes() -> float:
    return value("dimension") * value("int8_bytes") + value("hnsw_link_bytes")


def _worker_count(needed: float, rate: float) -> str:
    return f"{math.ceil(needed / rate):,}"


def _sizes(what: str, bytes_an_item: float) -> Row:
    return (what, *(_bytes(size * bytes_an_item) for size in SIZES))


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1_000:
            return f"{count:.3g} {unit}"
        count /= 1_000
    return f"{count:,.3g} PB"


def _count(size: int) -> str:
    return f"{size:,} items"


def _duration(seconds: float) -> str:
    return f"{seconds / 3_600:g} h" if seconds >= 3_600 else f"{seconds / 60:g} min"


if __name__ == "__main__":
    sys.exit(main())
