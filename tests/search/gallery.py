"""A catalogue with items whose vectors are known, and a small deterministic embedder, for the tests of `search`."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from sqlalchemy.orm import Session

from anyseek.model.seam import EmbeddingSpace, FloatArray, Fusion, RelevanceCurve, Sample, Value
from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.catalogue import collections, items, listing
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError
from anyseek.search.settings import Settings
from anyseek.search.types import Asset, Collection, Item, NewItem, Part, Results
from anyseek.search.upkeep.rebuild import Remake, rebuild
from anyseek.search.upkeep.verify import Problem, verify

DIMENSION = 16
SPACES = ("looks", "means")
WORDS = ["dog", "cat", "car", "tree", "house"]


def unit(rows: FloatArray) -> FloatArray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def direction(text: str, space: str) -> FloatArray:
    """The unit vector that stands for `text` in `space`."""
    seed = int.from_bytes(hashlib.sha256(f"{space}/{text}".encode()).digest()[:8], "little")
    return unit(np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32))


class WordsEmbedder:
    """Captions and pictures of the same content get the same vector; all lean towards one common direction.

    A caption and a picture together say something else than each of them: "caption picture".
    Its query means are that common direction, so that centring is seen to matter.
    """

    name = "words"
    fusion = Fusion.LATE
    modalities = frozenset({"caption", "rgb"})

    def __init__(self, fingerprint: str = "words-1") -> None:
        self.fingerprint = fingerprint
        self.calls = 0
        self.spaces: Mapping[str, EmbeddingSpace] = {space: self._space(space) for space in SPACES}

    def default_space(self, modality: str) -> str:
        return "means" if modality == "caption" else "looks"

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self.calls += 1
        return {space: np.stack([self.vector(sample, space) for sample in samples]) for space in spaces}

    embed_gallery = embed

    def vector(self, sample: Sample, space: str) -> FloatArray:
        said = " ".join(words(value) for _, value in sorted(sample.values.items()))
        return unit(direction(said, space) + self.lean(space))

    def lean(self, space: str) -> FloatArray:
        return direction("the common direction", space)

    def _space(self, name: str) -> EmbeddingSpace:
        mean = 0.6 * self.lean(name)
        means = {"caption": mean[np.newaxis], "rgb": mean[np.newaxis]}
        return EmbeddingSpace(name, DIMENSION, f"{self.fingerprint}/{name}", mean, means, relevance=_curves(0.0))

    def set_nothing_good(self, probability: float) -> None:
        """Say from now on that nothing good was found if the best hit has a lower probability."""
        self.spaces = {name: replace(space, relevance=_curves(probability)) for name, space in self.spaces.items()}


def _curves(nothing_good: float) -> dict[str, RelevanceCurve]:
    return dict.fromkeys(("caption", "rgb"), RelevanceCurve(-3.0, (1.0, 1.0), nothing_good))


def words(value: Value) -> str:
    return value if isinstance(value, str) else str(int(np.asarray(value).sum()))


def open_catalogue(home: Path) -> tuple[Settings, Database]:
    """The catalogue in `home`; an empty one if there is none yet."""
    begin_catalogue(home)
    settings = Settings(home=home)
    return settings, Database(settings.database_url)


def begin_catalogue(home: Path) -> None:
    """Put an empty catalogue into `home` unless it has one, sooner than migrations make it."""
    file = home / "catalogue.sqlite"
    if not file.exists():
        home.mkdir(parents=True, exist_ok=True)
        file.write_bytes(empty_catalogue())


@cache
def empty_catalogue() -> bytes:
    """The file of a migrated database, made once for all tests."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/catalogue.sqlite")
        upgrade(database)
        database.close()
        return Path(folder, "catalogue.sqlite").read_bytes()


def make_collection(database: Database, embedder: WordsEmbedder, name: str = "things") -> Collection:
    with database.write() as session:
        return collections.create(session, name, embedder.name, embedder.spaces.values())


def new_item(embedder: WordsEmbedder, key: str, text: str | None = None, assets: Sequence[Asset] = ()) -> NewItem:
    """An item whose content is `text`, its key where there is none."""
    text = key if text is None else text
    sample = Sample({"caption": text})
    vectors = {space: embedder.embed([sample], [space])[space][0] for space in embedder.spaces}
    return NewItem(key, f"hash of {text}", vectors, text, {"words": text}, tuple(assets))


def put(
    database: Database, collection: Collection, embedder: WordsEmbedder, keys: Sequence[str], text: str | None = None
) -> list[Item]:
    new = [new_item(embedder, key, text) for key in keys]
    with database.write() as session:
        return items.write(session, collection, new)


def remove(database: Database, collection: Collection, keys: Sequence[str]) -> int:
    with database.write() as session:
        return items.delete(session, collection, keys)


@dataclass(frozen=True)
class Things:
    """The collection `things`, with what fills and reads it."""

    database: Database
    collection: Collection
    embedder: WordsEmbedder

    @property
    def head(self) -> collections.Head:
        with self.database.read() as session:
            return collections.head(session, self.collection.name)

    def beside(self, name: str) -> Self:
        """Another collection of the same catalogue and model."""
        return replace(self, collection=make_collection(self.database, self.embedder, name))

    def put(self, keys: Sequence[str], text: str | None = None) -> list[Item]:
        return put(self.database, self.collection, self.embedder, keys, text)

    def put_with(self, attributes: Mapping[str, Mapping[str, Any]]) -> list[Item]:
        """Items with these attributes by key."""
        return self.write([replace(self.new(key), attributes=own) for key, own in attributes.items()])

    def new(self, key: str, text: str | None = None, assets: Sequence[Asset] = ()) -> NewItem:
        return new_item(self.embedder, key, text, assets)

    def write(self, new: Sequence[NewItem]) -> list[Item]:
        with self.database.write() as session:
            return items.write(session, self.collection, new)

    def item(self, key: str) -> Item:
        return item_of(self.database, self.collection, key)

    def remove(self, keys: Sequence[str]) -> int:
        return remove(self.database, self.collection, keys)


@dataclass(frozen=True)
class Home(Things):
    """`Things` in a data directory, and what is done there."""

    settings: Settings
    store: FolderAssetStore

    def engine(self) -> SearchEngine:
        """As a process has it that has just been started."""
        return SearchEngine(self.database, self.settings, self.embedder)

    def problems(self) -> list[Problem]:
        return verify(self.database, self.settings)

    def whats(self) -> list[str]:
        """What `verify` finds, without the collections."""
        return [problem.what for problem in self.problems()]

    def rebuild(self, remake: Remake | None = None) -> list[str]:
        return rebuild(self.database, self.settings, "things", remake)

    def remade(self, lost: Sequence[Item]) -> dict[str, NewItem]:
        """Items as they were put, with their thumbnails."""
        return {item.key: thumbnail(self.store, item.key) for item in lost}


def thumbnail(store: FolderAssetStore, key: str) -> NewItem:
    asset = store.put("thumbnail", f"thumbnail of {key}".encode(), "image/webp")
    return new_item(WordsEmbedder(), key, assets=[asset])


def all_items(session: Session, collection: Collection) -> list[Item]:
    """All items by key."""
    return [item for item, _ in listing.page(session, collection, listing.Order.KEY, None, 1_000_000)]


def item_of(database: Database, collection: Collection, key: str) -> Item:
    with database.read() as session:
        return items.get(session, collection, key)


def text(words: str, weight: float = 1.0) -> Part:
    return Part("caption", words, weight=weight)


def picture(total: int, weight: float = 1.0) -> Part:
    return Part("rgb", np.full((1, 1, 3), total // 3, np.uint8), weight=weight)


def keys(results: Results | AnyseekError) -> list[str]:
    assert isinstance(results, Results)
    return [hit.key for hit in results.hits]


def whats(database: Database, settings: Settings) -> list[str]:
    """What `verify` finds, without the collections."""
    return [problem.what for problem in verify(database, settings)]
