"""Originals: files that stay where their users keep them, and are there, gone, or no longer what was indexed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import collections, items, sources
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.values import CHUNK
from anyseek.search.errors import AnyseekError, AssetNotFound
from anyseek.search.settings import Settings
from anyseek.search.types import Asset, Item


@dataclass(frozen=True)
class Original:
    """An original that is `gone`, or has changed; `what` says so in one sentence."""

    collection: str
    gone: bool
    what: str


def check(database: Database, settings: Settings, every: bool = False) -> list[Original]:
    """The originals that are gone or have changed, which is known by their sizes; with `every`, all are read."""
    store = AssetStore(settings.assets)
    with database.read() as session:
        names = [collection.name for collection in collections.list_all(session)]
    return [
        wrong
        for name in names
        for item, asset, root in _references(database, name)
        if (wrong := _wrong(store, name, item, asset, root, every))
    ]


def _references(database: Database, name: str) -> Iterator[tuple[Item, Asset, Path | None]]:
    """The originals of a collection's sound items, each with the folder that it was indexed from."""
    after = 0
    while True:
        with database.read() as session:
            ids = items.ids_after(session, collections.head(session, name).id, after, CHUNK)
            held = [item for item in items.by_ids(session, ids).values() if not item.damaged]
            roots = {source: sources.folder_of(session, source) for source in {item.source_id for item in held}}
        if not ids:
            return
        for item in held:
            yield from ((item, asset, roots[item.source_id]) for asset in item.assets.values() if not asset.stored)
        after = ids[-1]


def _wrong(
    store: AssetStore, collection: str, item: Item, asset: Asset, root: Path | None, read: bool
) -> Original | None:
    path = Path(asset.location)
    try:
        if read or path.is_symlink() or path.stat().st_size != asset.size_bytes:
            store.open(asset, root).close()
    except (AssetNotFound, FileNotFoundError, NotADirectoryError):
        return Original(collection, True, f"the original of item {item.key!r} is gone: {path}")
    except (AnyseekError, OSError) as error:
        return Original(collection, False, f"the original of item {item.key!r} has changed: {path}: {error}")
    return None


def summary(found: list[Original]) -> str:
    """The numbers of originals that are gone and that have changed, in a few words; empty if there are none."""
    gone = sum(original.gone for original in found)
    counted = [(gone, "gone"), (len(found) - gone, "changed")]
    return " and ".join(f"{count} original{'s' * (count != 1)} {what}" for count, what in counted if count)
