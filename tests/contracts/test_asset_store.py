"""The contract of stores of assets, in a folder and in buckets."""

import hashlib
import io
import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from anyseek.search.assets import bucket as buckets
from anyseek.search.assets.base import AssetStore
from anyseek.search.assets.bucket import BucketAssetStore
from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.assets.opening import open_assets
from anyseek.search.errors import AssetNotFound, StoreCorrupt
from anyseek.search.settings import Settings
from anyseek.search.types import Asset
from tests.forked import begun, exit_code

LARGE = bytes(range(256)) * 400  # above the limits that the fixture sets
HOUR, DAY = 3_600, 86_400


@pytest.fixture(params=["home", "file", "memory", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, memory_storage: None) -> Settings:
    pytest.importorskip("fsspec")
    url = {"home": "", "file": f"file://{tmp_path}/a%20b", "memory": f"memory://{uuid.uuid4().hex}/p"}.get(
        request.param
    )
    if url is None:
        url = request.getfixturevalue("s3")(f"b-{uuid.uuid4().hex[:12]}", {}) + "/prefix"
    return Settings(tmp_path / "home", assets_url=url)


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AssetStore:
    monkeypatch.setattr(buckets, "IN_MEMORY", 1_000)
    monkeypatch.setattr(buckets, "_SMALL", 100)
    return open_assets(settings)


def age(store: AssetStore, seconds: float, *places: str) -> None:
    """Let what is at these places, such as `assets/ab/cd…`, have been written so long ago."""
    written = time.time() - seconds
    if isinstance(store, FolderAssetStore):
        for place in places:
            os.utime(store.root.parent / place, (written, written))
        return
    assert isinstance(store, BucketAssetStore)
    files, root = store._bucket._open()
    for place in places:
        if hasattr(files, "store"):
            files.store[f"{root}/{place}"].created = datetime.fromtimestamp(written, UTC)
        else:
            from moto.s3.models import s3_backends

            bucket, _, key = f"{root}/{place}".partition("/")
            objects = s3_backends["123456789012"]["aws"].buckets[bucket].keys
            objects[key].last_modified = datetime.fromtimestamp(written, UTC).replace(tzinfo=None)


def damage(store: AssetStore, asset: Asset, data: bytes | None) -> None:
    """Replace the stored bytes, or remove them."""
    if isinstance(store, FolderAssetStore):
        store.path(asset).unlink()
        if data is not None:
            store.path(asset).write_bytes(data)
        return
    assert isinstance(store, BucketAssetStore)
    key = f"assets/{asset.location}"
    store._bucket.remove(key) if data is None else store._bucket.write(key, data)


@pytest.mark.parametrize("data", [b"", b"picture", LARGE])
def test_what_was_put_is_read_back_until_it_is_gone(store: AssetStore, data: bytes) -> None:
    asset = store.put("rgb", data, "image/png")
    assert asset == Asset("rgb", asset.location, True, "image/png", hashlib.sha256(data).hexdigest(), len(data))
    assert store.put("again", data, "image/png").location == asset.location
    for _ in range(2):
        with store.open(asset) as file:
            assert file.read() == data
    assert store.read(asset) == data
    assert store.is_intact(asset)
    damage(store, asset, None)
    assert not store.is_intact(asset)
    for read in (store.read, store.open):
        with pytest.raises(AssetNotFound, match="the stored file of 'rgb' is gone"):
            read(asset)
    with pytest.raises(FileNotFoundError):
        store.stream(asset.location, asset.size_bytes)


@pytest.mark.parametrize("data", [b"picture", LARGE])
@pytest.mark.parametrize("change", [bytes.swapcase, lambda data: data[:-1], lambda data: data + b"x"])
def test_other_bytes_are_noticed_and_mended_by_putting_again(
    store: AssetStore, data: bytes, change: Callable[[bytes], bytes]
) -> None:
    asset = store.put("rgb", data, "image/png")
    store.open(asset).close()
    damage(store, asset, change(data))
    assert not store.is_intact(asset)
    for read in (store.read, store.open):
        with pytest.raises(StoreCorrupt, match="run anyseek rebuild, or put it again"):
            read(asset)
    assert store.put("rgb", data, "image/png") == asset
    assert store.read(asset) == data


def test_any_part_is_read(store: AssetStore) -> None:
    asset = store.put("rgb", LARGE, "image/png")
    with store.open(asset) as file:
        for start, length in ((0, 10), (50_000, 4_000), (len(LARGE) - 3, 10), (len(LARGE) + 5, 1)):
            file.seek(start)
            assert file.read(length) == LARGE[start : start + length]
        assert file.seek(-4, io.SEEK_END) == len(LARGE) - 4
        assert file.read() == LARGE[-4:]


def test_blocks_are_kept_under_their_checksum_only(store: AssetStore) -> None:
    digest = hashlib.sha256(b"abc").hexdigest()
    location = f"{digest[:2]}/{digest[2:]}"
    asset = Asset("rgb", location, True, "image/png", digest, 3)
    for wrong, blocks in ((location, [b"abd"]), ("../../outside", [b"abc"]), (f"{location}0", [b"abc"])):
        with pytest.raises(StoreCorrupt):
            store.put_blocks(wrong, blocks)
    assert not store.is_intact(asset)
    for _ in range(2):
        store.put_blocks(location, iter([b"a", b"bc"]))
        assert store.read(asset) == b"abc"


def test_a_put_that_ends_midway_is_not_seen(store: AssetStore) -> None:
    digest = hashlib.sha256(b"abc").hexdigest()

    def blocks() -> Iterator[bytes]:
        yield b"ab"
        raise OSError("the writer is gone")

    with pytest.raises(OSError, match="the writer is gone"):
        store.put_blocks(f"{digest[:2]}/{digest[2:]}", blocks())
    assert not store.is_intact(Asset("a", f"{digest[:2]}/{digest[2:]}", True, "text/plain", digest, 3))


def test_many_put_the_same_and_others(store: AssetStore) -> None:
    contents = [b"same", *(b"%d" % number for number in range(10))] * 3
    with ThreadPoolExecutor(8) as threads:
        assets = list(threads.map(lambda data: store.put("a", data, "text/plain"), contents))
    assert [store.read(asset) for asset in assets] == contents


def test_originals_are_opened_where_they_are(store: AssetStore, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photo")
    original = Asset("rgb", str(path), False, "image/jpeg", hashlib.sha256(b"photo").hexdigest(), 5)
    with store.open(original, tmp_path) as file:
        assert file.read() == b"photo"
    with pytest.raises(AssetNotFound, match="the original"):
        store.open(replace(original, location=f"{path}x"), tmp_path)


def test_only_old_files_without_a_reference_are_removed(store: AssetStore) -> None:
    used, unused, again, young = (store.put("a", data * 200, "text/plain") for data in (b"u", b"n", b"a", b"y"))
    age(store, DAY, *(f"assets/{asset.location}" for asset in (used, unused, again)))
    assert store.put("a", b"a" * 200, "text/plain") == again  # counts as young
    assert store.remove_unreferenced(lambda locations: {used.location} & set(locations)) == 1
    assert not kept(store, unused)
    assert all(kept(store, asset) and store.is_intact(asset) for asset in (used, again, young))
    assert store.remove_unreferenced(lambda _: ()) == 1  # the one that was used until now


def test_a_bucket_gives_back_what_was_removed_by_mistake(store: AssetStore) -> None:
    """No lock keeps another machine from putting a file between a remover's last look at it and its removal."""
    if isinstance(store, FolderAssetStore):
        pytest.skip("a folder has a lock for that")
    wanted, unwanted = (store.put("a", data * 2_000, "text/plain") for data in (b"w", b"u"))
    for asset in (wanted, unwanted):
        age(store, DAY, f"assets/{asset.location}")
    assert store.remove_unreferenced(lambda _: ()) == 2
    assert not kept(store, wanted)
    assert store.is_intact(wanted)
    with store.open(wanted) as file:
        assert file.read() == b"w" * 2_000
    assert store.remove_unreferenced(lambda _: ()) == 0
    assert store.is_intact(unwanted), "it stays for a day"
    for asset in (wanted, unwanted):
        age(store, DAY + 60, f"removed/{asset.location}")
    assert store.remove_unreferenced(lambda locations: {wanted.location} & set(locations)) == 0
    assert kept(store, wanted)
    assert store.is_intact(wanted)
    assert not store.is_intact(unwanted)


def test_what_was_written_lately_is_not_written_again(store: AssetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = store.put("a", LARGE, "text/plain")
    if isinstance(store, FolderAssetStore) or not store._bucket.info(f"assets/{asset.location}").md5:
        pytest.skip("it knows no checksum without reading")
    writes: list[str] = []
    monkeypatch.setattr(store._bucket, "write", lambda key, data: writes.append(key))
    store.put("b", LARGE, "text/plain")
    assert writes == []
    age(store, HOUR, f"assets/{asset.location}")
    store.put("b", LARGE, "text/plain")
    assert writes == [f"assets/{asset.location}"], "so that it is new for those who remove"


def kept(store: AssetStore, asset: Asset) -> bool:
    """True if it is stored for good, False if it is removed and not deleted yet."""
    if isinstance(store, FolderAssetStore):
        return store.path(asset).exists()
    assert isinstance(store, BucketAssetStore)
    return asset.location.partition("/")[2] in {
        one.name for one in store._bucket.objects(f"assets/{asset.location[:2]}")
    }


def put_many(settings: Settings) -> None:
    for number in range(20):
        open_assets(settings).put("a", b"%d" % number, "text/plain")


def test_processes_put_at_once(settings: Settings) -> None:
    if settings.bucket.startswith("memory"):
        pytest.skip("the memory of another process is not seen")
    store = open_assets(settings)
    store.put("a", b"before", "text/plain")
    both = [begun(put_many, settings) for _ in range(2)]
    assert [exit_code(process) for process in both] == [0, 0]
    assert all(store.is_intact(store.put("a", b"%d" % number, "text/plain")) for number in range(20))
