"""A second model without weights, for the tests of moving from one to another."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from anyseek.model.compute.devices import CPU
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import Embedder, FloatArray, Sample

OLD, NEW = "hashing", "mirrored"


class Mirrored(HashingEmbedder):
    """Vectors of the first one, negated, in a space of the same name. Does something at each batch."""

    name = NEW

    def __init__(self) -> None:
        super().__init__()
        (before,) = self.spaces.values()
        self.spaces = {before.name: replace(before, fingerprint="mirrored-1")}
        self.at_work: Callable[[], object] = lambda: None

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        return {name: -rows for name, rows in super().embed(samples, spaces).items()}

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self.at_work()
        return self.embed(samples, spaces)


def load(name: str, home: Path, device: str = CPU) -> Embedder:
    """In place of `anyseek.model.registry.loading.load_embedder`; MIRRORED_SECONDS slows the second model down."""
    if name == OLD:
        return HashingEmbedder()
    made = Mirrored()
    made.at_work = lambda: time.sleep(float(os.environ.get("MIRRORED_SECONDS", "0")))
    return made
