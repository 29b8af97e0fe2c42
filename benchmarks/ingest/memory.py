"""Measure the peak memory of indexing many tiny files, each number of files in its own process."""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.indexer.runs import SilentProgress
from anyseek.model.seam import EmbeddingSpace, FloatArray, Fusion, Sample
from anyseek.search.settings import Index, Settings
from benchmarks.ingest.rates import index, installation, make_tiny

SPACE, DIMENSION = "drawn", 512


class DrawingEmbedder:
    """Draws a vector from a hash of the pixels: no model's memory and next to no time, so that the indexer's show."""

    name = fingerprint = "drawn"
    modalities = frozenset({"rgb"})
    fusion = Fusion.LATE
    spaces: Mapping[str, EmbeddingSpace] = {
        SPACE: EmbeddingSpace(SPACE, DIMENSION, "drawn", np.zeros(DIMENSION, np.float32))
    }

    def default_space(self, modality: str) -> str:
        return SPACE

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        rows = np.stack([_drawn(np.asarray(sample.values["rgb"])) for sample in samples])
        return dict.fromkeys(spaces, rows / np.linalg.norm(rows, axis=1, keepdims=True))

    embed_gallery = embed


class _Watching(SilentProgress):
    """Keeps the peak of the moment at which the last input was settled."""

    peak = 0.0

    def settled(self, inputs: int) -> None:
        self.peak = _peak_mb()


def peaks(files: int) -> dict[str, Any]:
    """Peak megabytes of a process that indexes so many files, and how long it took."""
    project = str(Path(__file__).resolve().parents[2])
    script = f"import sys; sys.path.insert(0, {project!r}); from benchmarks.ingest.memory import tell; tell()"
    with tempfile.TemporaryDirectory() as scratch:
        make_tiny(Path(scratch, "files"), files)
        child = subprocess.run([sys.executable, "-c", script, scratch], capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(child.stdout)
    return {"files": files, **told}


def tell() -> None:
    """What the process of `peaks` does. The index is flat: of another kind building it would take the time."""
    scratch, watching, started = Path(sys.argv[1]), _Watching(), time.perf_counter()
    tools = installation(Settings(scratch / "home", index=Index(kind="flat")), DrawingEmbedder())
    index(tools, scratch / "files", watching)
    told = {"working_mb": watching.peak, "peak_mb": _peak_mb(), "seconds": time.perf_counter() - started}
    print(json.dumps({name: round(value, 1) for name, value in told.items()}))


def _drawn(picture: np.ndarray) -> FloatArray:
    seed = int.from_bytes(hashlib.blake2b(picture.tobytes(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(DIMENSION, np.float32)


def _peak_mb() -> float:
    """The kernel's own mark: `getrusage` tells that of the parent if it was higher when it started this process."""
    told = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(told.partition("VmHWM:")[2].split()[0]) / 1_024
