import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from anyseek.search.assets import AssetStore, reference
from anyseek.search.errors import AssetNotFound, StoreCorrupt

DAY = 86_400


@pytest.fixture
def store(tmp_path: Path) -> AssetStore:
    return AssetStore(tmp_path / "assets")


def files(store: AssetStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file() and path.name != ".lock"]


def make_old(path: Path) -> None:
    os.utime(path, (time.time() - DAY, time.time() - DAY))


def test_what_was_put_is_kept_once_and_read_back_until_it_is_gone(store: AssetStore) -> None:
    asset = store.put("thumbnail", b"picture", "image/webp")
    assert (asset.name, asset.stored, asset.media_type, asset.size_bytes) == ("thumbnail", True, "image/webp", 7)
    assert store.read(asset) == store.path(asset).read_bytes() == b"picture"
    assert store.exists(asset)
    assert store.is_intact(asset)
    assert store.put("b", b"picture", "image/png").location == asset.location
    assert files(store) == [store.path(asset)]
    store.path(asset).unlink()
    assert not store.exists(asset)
    assert not store.is_intact(asset)
    with pytest.raises(AssetNotFound, match="thumbnail"):
        store.read(asset)


def test_other_bytes_are_noticed_and_mended_by_putting_again(store: AssetStore) -> None:
    asset = store.put("thumbnail", b"picture", "image/webp")
    store.path(asset).write_bytes(b"pictura")
    assert not store.is_intact(asset)
    with pytest.raises(StoreCorrupt, match="has changed since it was stored"):
        store.read(asset)
    assert store.put("thumbnail", b"picture", "image/webp") == asset
    assert store.is_intact(asset)


def test_a_reference_is_read_where_it_is(store: AssetStore, tmp_path: Path) -> None:
    original = tmp_path / "photo.jpg"
    original.write_bytes(b"photo")
    asset = reference("rgb", original, "image/jpeg", hashlib.sha256(b"photo").hexdigest(), 5)
    assert not asset.stored
    assert store.path(asset) == original
    original.write_bytes(b"edited by the user")
    assert store.read(asset) == b"edited by the user"


def test_only_old_files_without_a_reference_are_removed(store: AssetStore) -> None:
    used, unused, again, young = (store.put("a", data, "text/plain") for data in (b"used", b"un", b"again", b"young"))
    leftover = store.path(used).parent / ".tmp-killed"
    leftover.write_bytes(b"half")
    for path in (*(store.path(asset) for asset in (used, unused, again)), leftover):
        make_old(path)
    store.put("a", b"again", "text/plain")  # counts as young
    assert store.remove_unreferenced(lambda locations: {used.location} & set(locations)) == 2
    assert [store.exists(asset) for asset in (used, unused, again, young)] == [True, False, True, True]
    assert not leftover.exists()


def test_a_failed_put_leaves_nothing(store: AssetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anyseek.model.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.put("a", b"data", "text/plain")
    assert files(store) == []


def test_a_file_that_comes_in_blocks_is_kept_under_its_checksum_only(tmp_path: Path) -> None:
    store = AssetStore(tmp_path / "assets")
    digest = hashlib.sha256(b"abc").hexdigest()
    location = f"{digest[:2]}/{digest[2:]}"
    for wrong, blocks in ((location, [b"abd"]), ("../../outside", [b"abc"]), (f"{location}0", [b"abc"])):
        with pytest.raises(StoreCorrupt):
            store.put_blocks(wrong, blocks)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"] == []
    store.put_blocks(location, [b"a", b"bc"])
    store.put_blocks(location, [b"abc"])
    assert (store.root / location).read_bytes() == b"abc"


def test_nothing_is_removed_while_files_are_kept(tmp_path: Path) -> None:
    store = AssetStore(tmp_path / "assets")
    asset = store.put("x", b"x", "text/plain")
    remover = threading.Thread(target=lambda: store.remove_unreferenced(lambda _: [], grace_seconds=-1))
    with store.prevent_removal():
        remover.start()
        remover.join(0.3)
        assert remover.is_alive()
        assert store.is_intact(asset)
    remover.join()
    assert not store.exists(asset)
