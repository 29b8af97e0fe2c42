"""Assets are opened as what was stored or indexed, and as nothing else."""

import hashlib
import os
from pathlib import Path

import pytest

from anyseek.search.assets.files import reference
from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.errors import AssetChanged, AssetNotFound, StoreCorrupt
from anyseek.search.types import Asset
from anyseek.search.upkeep.verify import check_originals as check
from anyseek.search.upkeep.verify import summary
from tests.search.gallery import Home

PHOTO = b"what was indexed"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(PHOTO)
    return path


@pytest.fixture
def asset(photo: Path) -> Asset:
    return reference("rgb", photo, "image/jpeg", hashlib.sha256(PHOTO).hexdigest(), len(PHOTO))


def read(store: FolderAssetStore, asset: Asset, root: Path) -> bytes:
    with store.open(asset, root) as handle:
        return handle.read()


def test_what_was_indexed_is_opened_again_and_again(store: FolderAssetStore, photo: Path, asset: Asset) -> None:
    os.utime(photo, (1, 1))
    assert [read(store, asset, photo.parent) for _ in range(3)] == [PHOTO] * 3


@pytest.mark.parametrize("content", [b"what was INDEXED", b"another length"])
def test_other_content_is_refused_even_with_the_times_of_before(
    store: FolderAssetStore, photo: Path, asset: Asset, content: bytes
) -> None:
    read(store, asset, photo.parent)
    before = photo.stat()
    photo.write_bytes(content)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(AssetChanged, match="it has other content; index its folder again"):
        store.open(asset, photo.parent)


def test_a_link_out_of_the_folder_is_refused_whatever_it_leads_to(
    store: FolderAssetStore, tmp_path: Path, photo: Path, asset: Asset
) -> None:
    private = tmp_path / "private"
    photo.rename(private)
    photo.symlink_to(private)
    with pytest.raises(AssetChanged, match="leads out of its folder"):
        store.open(asset, photo.parent)
    private.write_bytes(b"another text....")
    with pytest.raises(AssetChanged, match="has other content"):
        store.open(asset, None)


def test_a_folder_that_has_become_a_link_is_refused(store: FolderAssetStore, tmp_path: Path, photo: Path) -> None:
    inner = tmp_path / "photos" / "inner"
    inner.mkdir()
    moved = photo.rename(inner / "a.jpg")
    asset = reference("rgb", moved, "image/jpeg", hashlib.sha256(PHOTO).hexdigest(), len(PHOTO))
    inner.rename(tmp_path / "elsewhere")
    inner.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AssetChanged, match="leads out of its folder"):
        store.open(asset, tmp_path / "photos")


@pytest.mark.parametrize("become", ["nothing", "pipe", "folder"])
def test_what_is_no_file_any_more(store: FolderAssetStore, photo: Path, asset: Asset, become: str) -> None:
    photo.unlink()
    if become == "pipe":
        os.mkfifo(photo)
    elif become == "folder":
        photo.mkdir()
    with pytest.raises(AssetNotFound if become == "nothing" else AssetChanged):
        store.open(asset, photo.parent)


def test_a_stored_file_that_was_flipped_or_linked_elsewhere_is_damaged(store: FolderAssetStore, tmp_path: Path) -> None:
    asset = store.put("thumbnail", PHOTO, "image/webp")
    path = store.path(asset)
    path.write_bytes(PHOTO.upper())
    with pytest.raises(StoreCorrupt):
        store.open(asset)
    path.unlink()
    (tmp_path / "private").write_bytes(PHOTO)
    path.symlink_to(tmp_path / "private")
    with pytest.raises(StoreCorrupt, match="leads out of its folder"):
        store.open(asset)


def test_originals_are_counted(home: Home, photo: Path, asset: Asset) -> None:
    home.write([home.new(key, assets=[asset]) for key in ("a", "b")])
    assert check(home.database, home.settings, read_all=True) == []
    photo.write_bytes(PHOTO.upper())
    assert check(home.database, home.settings) == []
    assert summary(check(home.database, home.settings, read_all=True)) == "2 originals changed"
    photo.unlink()
    found = check(home.database, home.settings)
    assert [(original.gone, str(photo) in original.what) for original in found] == [(True, True)] * 2
    assert summary(found) == "2 originals gone"
