"""A model that has come to have another space, which tells pictures apart and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from anyseek.model.seam import EmbeddingSpace, FloatArray, Sample
from anyseek.search.catalogue import items
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.types import Collection
from tests.search.engines import engine_over
from tests.search.gallery import DIMENSION, Things, WordsEmbedder, direction, make_collection, new_item, picture, words


class SeesHues(WordsEmbedder):
    """`WordsEmbedder` with the space `hues`. `embedded` has the modalities and spaces of each sample in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.embedded: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        zero = np.zeros(DIMENSION, np.float32)
        hues = EmbeddingSpace("hues", DIMENSION, "hues-1", zero, modalities=frozenset({"rgb"}), instead="looks")
        self.spaces = {**self.spaces, "hues": hues}

    def default_space(self, modality: str) -> str:
        return "hues" if modality == "rgb" else super().default_space(modality)

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self.embedded += [(tuple(sample.values), tuple(spaces)) for sample in samples]
        found = super().embed(samples, [space for space in spaces if space != "hues"])
        if "hues" in spaces:
            found["hues"] = np.stack([self._hue(sample) for sample in samples])
        return found

    embed_gallery = embed

    def _hue(self, sample: Sample) -> FloatArray:
        return direction(words(sample.values["rgb"]) if "rgb" in sample.values else "nothing", "hues")


@contextmanager
def engine_over_hues(home: Path, hued: Mapping[str, tuple[str, int]]) -> Iterator[SearchEngine]:
    """An engine over the collection `hued` of items by key, each with what it says and its hue."""

    def fill(things: Things) -> None:
        made = make_collection(things.database, embedder, "hued")
        for key, (said, total) in hued.items():
            put_hued(things.database, made, embedder, key, said, total)

    embedder = SeesHues()
    with engine_over(home, fill, embedder=embedder) as engine:
        yield engine


def put_hued(
    database: Database, collection: Collection, embedder: SeesHues, key: str, text: str, total: int | None = None
) -> None:
    """An item that says `text` and has the hue of `picture(total)`, or none."""
    new = new_item(embedder, key, text)
    if total is not None:
        (hue,) = embedder.embed([Sample({"rgb": picture(total).value})], ["hues"])["hues"]
        new = replace(new, vectors={**new.vectors, "hues": hue})
    with database.write() as session:
        items.write(session, collection, [new])
