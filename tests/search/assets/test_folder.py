import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.errors import StoreCorrupt

DAY = 86_400


@pytest.fixture
def store(tmp_path: Path) -> FolderAssetStore:
    return FolderAssetStore(tmp_path / "assets")


def files(store: FolderAssetStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file() and path.name != ".lock"]


def make_old(path: Path) -> None:
    os.utime(path, (time.time() - DAY, time.time() - DAY))


def test_equal_content_is_one_file(store: FolderAssetStore) -> None:
    asset = store.put("thumbnail", b"picture", "image/webp")
    assert store.put("b", b"picture", "image/png").location == asset.location
    assert files(store) == [store.path(asset)]


def test_only_old_files_without_a_reference_are_removed(store: FolderAssetStore) -> None:
    used, unused, again, young = (store.put("a", data, "text/plain") for data in (b"used", b"un", b"again", b"young"))
    leftover = store.path(used).parent / ".tmp-killed"
    leftover.write_bytes(b"half")
    for path in (*(store.path(asset) for asset in (used, unused, again)), leftover):
        make_old(path)
    store.put("a", b"again", "text/plain")  # counts as young
    assert store.remove_unreferenced(lambda locations: {used.location} & set(locations)) == 2
    assert [store.path(asset).exists() for asset in (used, unused, again, young)] == [True, False, True, True]
    assert not leftover.exists()


def test_a_failed_put_leaves_nothing(store: FolderAssetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anyseek.model.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.put("a", b"data", "text/plain")
    assert files(store) == []


def test_a_file_that_comes_in_blocks_leaves_nothing_elsewhere(tmp_path: Path) -> None:
    store = FolderAssetStore(tmp_path / "assets")
    digest = hashlib.sha256(b"abc").hexdigest()
    for location in (f"{digest[:2]}/{digest[2:]}", "../../outside"):
        with pytest.raises(StoreCorrupt):
            store.put_blocks(location, [b"abd"])
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"] == []


def test_nothing_is_removed_while_files_are_kept(tmp_path: Path) -> None:
    store = FolderAssetStore(tmp_path / "assets")
    asset = store.put("x", b"x", "text/plain")
    remover = threading.Thread(target=lambda: store.remove_unreferenced(lambda _: [], grace_seconds=-1))
    with store.prevent_removal():
        remover.start()
        remover.join(0.3)
        assert remover.is_alive()
        assert store.is_intact(asset)
    remover.join()
    assert not store.path(asset).exists()
