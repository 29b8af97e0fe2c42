"""One bad input is one bad input: it is quarantined with its name and reason, and the others go in."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from anyseek.indexer.errors import AddressRefused, BadSource, InputUnreadable, SourceGone
from anyseek.indexer.runs import IndexerContext
from anyseek.indexer.source_inputs import IndexingStrategy
from anyseek.indexer.sources.opening import open_source
from anyseek.indexer.sources.web import Web, parse_networks
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.settings import Limits
from tests.indexer import sources_kit as kit
from tests.indexer.harness import check_agreement, failures, held, index
from tests.indexer.pictures import png, write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one good picture."""
    return write(tmp_path / "photos", {"good.png": 1})


def check_refused(context: IndexerContext, source: Path, code: str, in_reason: str) -> None:
    """Check that one input of the source is quarantined and `good.png` goes in."""
    job = index(context, source)
    assert job.state == JobState.DONE
    ((_, failure),) = failures(context, job).items()
    assert failure.code == code
    assert in_reason in failure.reason
    assert list(held(context)) == ["good.png"]
    check_agreement(context)


def npy_of_shape(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (64 - (10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64


@pytest.mark.parametrize("shape", ["(True, True)", "(-1, -4)", "(1.0, 2)"])
def test_an_array_whose_shape_is_none(context: IndexerContext, photos: Path, shape: str) -> None:
    sidecar = {"modalities": {"depth": "bad.depth.npy"}}
    write(photos, {"bad.png": 2, "bad.depth.npy": npy_of_shape(shape), "bad.json": sidecar})
    check_refused(context, photos, "bad-map", "bad.depth.npy has a damaged NPY header")


def deep_folder(photos: Path, length: int) -> Path:
    """A folder whose path below `photos` has about so many characters."""
    folder = photos
    while len(str(folder)) - len(str(photos)) < length:
        folder = folder / ("d" * 200)
        folder.mkdir()
    return folder


@pytest.mark.parametrize(("length", "what"), [(1_000, "key"), (2_700, "name")])
def test_a_path_that_is_too_long_for_a_database(context: IndexerContext, photos: Path, length: int, what: str) -> None:
    (deep_folder(photos, length) / "far.png").write_bytes(png(2))
    check_refused(context, photos, "bad-description", f"has a {what} that cannot be stored")


def test_a_long_path_goes_in_under_a_key_of_its_own(context: IndexerContext, photos: Path) -> None:
    write(deep_folder(photos, 1_000), {"far.png": 2, "far.json": {"key": "far"}})
    assert index(context, photos).state == JobState.DONE
    assert sorted(held(context)) == ["far", "good.png"]
    check_agreement(context)


def test_a_key_that_only_a_database_finds_too_long(context: IndexerContext, photos: Path) -> None:
    write(photos, {"bad.png": 2, "bad.json": {"key": "猫" * 1_000}})
    check_refused(context, photos, "bad-description", "at most 2,600 bytes in UTF-8")


def test_a_member_of_an_archive_with_nul_in_its_name(context: IndexerContext, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in (("good.png", png(1)), ("other.png", png(2))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if name != "good.png":
                member.pax_headers = {"path": "o\0her.png"}
            archive.addfile(member, io.BytesIO(data))
    job = index(context, write(tmp_path / "shards", {"a.tar": stream.getvalue()}) / "a.tar")
    assert job.state == JobState.DONE
    ((uri, failure),) = failures(context, job).items()
    assert uri.startswith("a.tar#o\\x00her@")
    assert "has a name that cannot be stored" in failure.reason
    assert list(held(context)) == ["good"]
    check_agreement(context)


@pytest.mark.parametrize("target", ["http://[", "http://[::1", "//[x]/"])
def test_a_redirect_to_what_is_no_address(target: str) -> None:
    with kit.site() as site:
        site.answers["/a.png"] = (302, {"Location": target}, b"")
        with pytest.raises(AddressRefused, match="redirects to"):
            Web(Limits(), parse_networks(kit.LOOPBACK)).read(site.url + "a.png")


def test_whatever_an_input_raises_is_its_own_reason(
    context: IndexerContext, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "bad.png").write_bytes(png(2))
    before = IndexingStrategy._prepare

    def prepare(self: IndexingStrategy, lease: object, held: object) -> object:
        if getattr(lease, "uri", "") == "bad.png":
            raise ZeroDivisionError("nobody thought\nof this")
        return before(self, lease, held)  # type: ignore[arg-type]

    monkeypatch.setattr(IndexingStrategy, "_prepare", prepare)
    check_refused(context, photos, "preparing-failed", "bad.png cannot be prepared: ZeroDivisionError: nobody")


def put_no_file(path: Path, kind: str, secret: str) -> None:
    """A pipe, or a link to a device or to a file outside, in place of a file of the folder."""
    if kind == "pipe":
        os.mkfifo(path)
        return
    (path.parent.parent / "private").write_text(secret)
    path.symlink_to("/dev/zero" if kind == "device" else "../private")


@pytest.mark.parametrize("kind", ["pipe", "device", "link"])
def test_a_manifest_or_sidecar_that_is_no_file_of_the_folder(context: IndexerContext, photos: Path, kind: str) -> None:
    (photos / "bad.png").write_bytes(png(2))
    put_no_file(photos / "bad.json", kind, '{"caption": "a secret"}')
    check_refused(context, photos, "input-unreadable" if kind == "pipe" else "outside-folder", "bad.json")
    put_no_file(photos / "manifest.jsonl", kind, '{"file": "good.png", "caption": "a secret"}')
    with pytest.raises(SourceGone, match=r"manifest\.jsonl"):
        open_source(context.settings, photos)


def test_a_patterns_product_is_limited(context: IndexerContext, photos: Path) -> None:
    with pytest.raises(BadSource, match="more than 100,000 shards"):
        open_source(context.settings, photos / "{0..999}-{0..999}-{0..999}.tar")
    with pytest.raises(InputUnreadable, match="File name too long"):
        open_source(context.settings, photos / ("{0.." + "9" * 5_000 + "}.tar"))
