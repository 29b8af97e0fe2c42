"""The numbers that `python -m benchmarks.scale` computes with, each with its source.

Change them only here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Constant:
    """A number with its unit and where it comes from: a measurement, a format or an assumption."""

    value: float
    unit: str
    where: str


_SCRIPT = "measured by `python -m benchmarks.scale --measure`: 1,000 generated items in SQLite, hashing model"
_SPEED = "docs/speed.md, two cores of an AMD EPYC, 16 pictures at once"
_DESIGN = "measured while the design was made, 200,000 clustered vectors of 768 numbers, two cores"
_FORMAT = "by the format"
_ASSUMED = "assumed; put in your own"

CONSTANTS = {
    # bytes per item
    "catalogue_bytes": Constant(940, "bytes an item", f"{_SCRIPT}; rows of items, assets and jobs, with their indexes"),
    "facet_bytes": Constant(240, "bytes an item", f"{_SCRIPT}; three attributes"),
    "log_overhead_bytes": Constant(
        1_320,
        "bytes a vector",
        "measured in PostgreSQL 15: 3,000 entries of 768 numbers after VACUUM FULL, with their index; what an entry "
        "takes beside its numbers, mostly pages that are not full",
    ),
    "sqlite_log_entry_bytes": Constant(4_130, "bytes a vector of 512 numbers", f"{_SCRIPT}; one page each"),
    "ledger_bytes": Constant(170, "bytes an item", f"{_SCRIPT}; while its job is the last of its source"),
    "thumbnail_bytes": Constant(15_000, "bytes an item", f"{_SCRIPT}; WebP of a picture with grain"),
    "original_bytes": Constant(
        2_500_000, "bytes an item", "assumed: a photo of 12 megapixels, where originals are stored"
    ),
    # vectors
    "dimension": Constant(768, "numbers a vector", "assumed; the published 4M-21 has spaces of 768 and 1,024"),
    "spaces": Constant(2, "spaces a collection", "assumed; one for looks and one for meaning"),
    "bytes_a_number": Constant(4, "bytes", f"{_FORMAT}: float32"),
    "hnsw_link_bytes": Constant(
        2 * 32 * 4 * 1.05, "bytes a vector", f"{_FORMAT}: HNSW32, two lists of links and levels"
    ),
    "fast_scan_bytes": Constant(
        768 / 4 / 2 + 8, "bytes a vector", f"{_FORMAT}: PQ192x4fs, half a byte each, and the id"
    ),
    "int8_bytes": Constant(1, "bytes a number", f"{_FORMAT}: Qdrant's scalar quantisation"),
    # speed
    "cpu_rate": Constant(16 / 1.79, "pictures a second a worker", f"{_SPEED}: 4M-21_B in bfloat16"),
    "picture_gflop": Constant(40.4, "GFLOP a picture", f"{_SPEED}: 4M-21_B"),
    "gpu_gflops": Constant(200_000, "GFLOP/s a GPU", "assumed: a fifth of an H100's bfloat16 peak of 990,000"),
    "decode_rate": Constant(
        1000 / 44,
        "pictures a second a core",
        "measured by `python -m benchmarks.ingest`: 44 ms of a core for a JPEG of 12 megapixels and 2.8 MB",
    ),
    "hashing_rate": Constant(
        130,
        "pictures a second a worker",
        "measured by `python -m benchmarks.ingest`: the hashing model, pictures of 320 x 240, SQLite, two busy cores",
    ),
    # machines
    "node_memory": Constant(128 * 2**30, "bytes", _ASSUMED),
    "node_usable": Constant(0.7, "of a node's memory", "assumed; the rest for the system, merges and peaks"),
    "shard_vectors": Constant(20e6, "vectors a shard", "assumed; a shard is moved and optimised as a whole"),
    "replicas": Constant(2, "copies", "assumed; one node may be lost"),
    "gpu_hour": Constant(3.0, "dollars an hour", _ASSUMED),
    "cpu_hour": Constant(0.1, "dollars an hour for two cores", _ASSUMED),
    "storage_month": Constant(0.023, "dollars a gigabyte a month", "assumed: object storage"),
}

SIZES = (1_000_000, 100_000_000, 1_000_000_000)
DEADLINE_DAYS = 7


def value(name: str) -> float:
    return CONSTANTS[name].value
