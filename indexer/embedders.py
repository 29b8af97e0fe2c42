"""Samples to vectors, by several embedders side by side: threads that share one loaded model.

Each computes with one thread unless there are fewer embedders than threads to use, so that none waits for another, or
for a neighbour's work, at every operation (`anyseek.model.compute.processors`). Weights are in memory once. A card
computes for one of them, so that it sees all samples of a batch together.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

from anyseek.model.compute.devices import AUTO, CPU
from anyseek.model.compute.processors import SHARING, threads_to_use
from anyseek.model.seam import Embedder, FloatArray, Sample
from anyseek.search.settings import Settings
from anyseek.search.telemetry.metrics import embedding

_LEAST = 4  # samples that are worth an embedder: image encoders take as many at once

# Raw vectors of one sample by space, each (d,).
Vectors = Mapping[str, FloatArray]

# The vectors of each sample in the spaces that are named.
Embed = Callable[[Embedder, Sequence[Sample], Sequence[str]], list[Vectors]]


class Embedders:
    """As many as `settings` say. They start with the first samples, and end with `close`."""

    def __init__(self, settings: Settings) -> None:
        threads = threads_to_use(settings.threads)
        self.count = settings.work.embedders or (threads if _on_cpu(settings.device) else 1)
        each = max(1, threads // self.count)
        self._pool = ThreadPoolExecutor(self.count, "embed", initializer=SHARING.take, initargs=(each,))

    def embed(self, embedder: Embedder, samples: Sequence[Sample], spaces: Sequence[str]) -> list[Vectors]:
        """As `embed_samples`, with the samples divided evenly."""
        size = max(_LEAST, -(-len(samples) // self.count))
        shares = [samples[start : start + size] for start in range(0, len(samples), size)]
        with embedding(len(samples)):
            futures = [self._pool.submit(_embed, embedder, share, spaces) for share in shares]
            wait(futures)  # also if one fails: its range is then embedded again, one by one
        return [vectors for future in futures for vectors in future.result()]

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(cancel_futures=True)


def _on_cpu(device: str) -> bool:
    if device == AUTO:
        from anyseek.model.compute.placement import settled_device  # imports torch

        device = settled_device(device)
    return device == CPU


def embed_samples(embedder: Embedder, samples: Sequence[Sample], spaces: Sequence[str]) -> list[Vectors]:
    """The raw vectors of each sample. Raises what the model raises, `ValueError` for values that are no numbers."""
    with embedding(len(samples)):
        return _embed(embedder, samples, spaces)


def _embed(embedder: Embedder, samples: Sequence[Sample], spaces: Sequence[str]) -> list[Vectors]:
    vectors = embedder.embed_gallery(samples, spaces)
    if not all(np.isfinite(rows).all() for rows in vectors.values()):
        raise ValueError("its vector has values that are not numbers")
    return [{space: rows[place] for space, rows in vectors.items()} for place in range(len(samples))]
