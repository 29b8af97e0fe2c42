"""Tar shards: what their members become, and archives that are cut off, damaged or made to do harm."""

import io
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from anyseek.indexer.errors import BadSource
from anyseek.indexer.sources.base import Source, SourceInput
from anyseek.indexer.sources.opening import open_source
from anyseek.indexer.sources.tar import BadArchive, Member, members
from tests.indexer import sources_kit as kit
from tests.indexer.pictures import png

A, B = png(1), png(2)


def opened(tmp_path: Path, shards: dict[str, bytes], name: str = "") -> Source:
    return open_source(kit.settings(tmp_path / "home"), kit.write(tmp_path / "t", shards) / name)


def scan(source: Source) -> dict[str, SourceInput]:
    return {one.key: one for one in source.scan()}


def read(data: bytes, place: int = 0) -> list[Member]:
    return list(members(io.BytesIO(data), len(data), place))


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_that_were_put_in(kind: int) -> None:
    files = {"a.png": A, "empty": b"", "sub/b.png": B, "n" * 90 + ".png": b"x" * 513}
    if kind != tarfile.USTAR_FORMAT:
        files |= {"long/" * 60 + "ü.png": b"y" * 512}
    data = kit.tar(files, kind)
    found = read(data)
    assert {one.name: data[one.start : one.start + one.size] for one in found} == files
    for number, one in enumerate(found):
        assert read(data, one.place) == found[number:]


def test_other_things_than_files_are_passed_over() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind in (
            ("d", tarfile.DIRTYPE),
            ("l", tarfile.SYMTYPE),
            ("h", tarfile.LNKTYPE),
            ("p", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        member = tarfile.TarInfo("a.png")
        member.size = len(A)
        archive.addfile(member, io.BytesIO(A))
    assert [one.name for one in read(stream.getvalue())] == ["a.png"]


def test_what_is_cut_off_or_damaged_is_told() -> None:
    data = kit.tar({"a.png": A, "b.png": B})
    second = read(data)[1]
    broken = bytearray(data)
    broken[second.place + 20] ^= 1
    for wrong, reason in (
        (b"", "empty"),
        (b"no archive" * 100, "not a tar archive"),
        (data[: second.place], "no end mark"),
        (data[: second.place + 100], "no end mark"),
        (data[: second.start + 10], "cut off in 'b.png'"),
        (bytes(broken), f"damaged at byte {second.place:,}"),
    ):
        with pytest.raises(BadArchive, match=reason):
            read(wrong)


def test_sizes_that_lie_do_no_harm() -> None:
    for size in (-512, 1 << 60):
        member = tarfile.TarInfo("a.png")
        member.size = size
        with pytest.raises(BadArchive):
            read(member.tobuf(tarfile.GNU_FORMAT) + bytes(4 * tarfile.BLOCKSIZE))
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with pytest.raises(BadArchive, match="too long"):
        read(name.tobuf(tarfile.GNU_FORMAT) + bytes(4 * tarfile.BLOCKSIZE))
    for facts in (b"nonsense", b"0 a=b\n", b"-3 a=b\n", b"15 size=-90000\n", b"9 size=x\n"):
        header = tarfile.TarInfo("pax")
        header.type, header.size = tarfile.XHDTYPE, len(facts)
        data = header.tobuf(tarfile.USTAR_FORMAT) + facts.ljust(tarfile.BLOCKSIZE, b"\0") + kit.tar({"a.png": A})
        with suppress(BadArchive):
            assert [member.name for member in read(data)] == ["a.png"], facts


def test_members_become_items(tmp_path: Path) -> None:
    said = b'{"url": "http://x.org/1", "width": 640, "caption": "said", "key": "K", "none": null}'
    files: dict[str, Any] = {"x/1.JPG": A, "x/1.json": said, "x/1.txt": " written \n", "x/1.cls": "7", "x/1.other": "?"}
    files |= {"2.sketch.png": A, "2.png": B, "notes.md": "no picture", "3.png": A}
    source = opened(
        tmp_path, {"s.tar": kit.tar({n: d.encode() if isinstance(d, str) else d for n, d in files.items()})}
    )
    found = scan(source)
    assert set(found) == {"K", "2", "3"}
    assert source.ignored == 1
    first, second = (source.describe(found[key].uri) for key in ("K", "2"))
    assert first.caption == "written"
    assert first.attributes == {"url": "http://x.org/1", "width": 640, "label": "7"}
    assert set(second.modalities) == {"canny_edge"}
    assert source.read(second.modalities["canny_edge"].path) == A


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"1.png": A, "1.json": b"{"}, "not JSON"),
        ({"1.png": A, "1.jpg": A}, "'rgb' twice"),
        ({"1.png": A, "1.txt": b"\xff"}, "codec can't decode"),
        ({"1.png": A, "1.json": b'{"modality:depth": "x.png"}'}, "KEY.MODALITY.png"),
        ({f"1.{number:03}.png": A for number in range(70)}, "more than 64 members share the name"),
    ],
)
def test_groups_that_are_wrong_are_named_and_the_others_taken(
    tmp_path: Path, files: dict[str, bytes], reason: str
) -> None:
    source = opened(tmp_path, {"s.tar": kit.tar({"0.png": A, **files, "2.png": B})})
    found = scan(source)
    assert (found["0"].reason, found["2"].reason) == (None, None)
    assert reason in str(found["1"].reason)


def test_shards_that_are_broken_or_missing_are_named_and_the_others_taken(tmp_path: Path) -> None:
    whole = kit.tar({"1.png": A})
    two = kit.tar({"0.png": A, "x.png": B})
    shards = {"s-0.tar": two[: read(two)[1].start + 10], "s-1.tar": whole, "s-3.tar": b"compressed"}
    found = scan(opened(tmp_path, shards, "s-{0..3}.tar"))
    assert {key for key, one in found.items() if one.reason is None} == {"0", "1"}
    assert "cut off" in str(found["s-0.tar"].reason)
    assert "does not exist" in str(found["s-2.tar"].reason)
    assert "not a tar archive" in str(found["s-3.tar"].reason)


def test_which_shards_a_name_stands_for(tmp_path: Path) -> None:
    shards = {f"{name}.tar": kit.tar({f"{name}.png": A}) for name in ("a-00", "a-01", "a-10", "b-00")}
    for name, keys in {
        "": {"a-00", "a-01", "a-10", "b-00"},
        "a-*.tar": {"a-00", "a-01", "a-10"},
        "?-{00..01}.tar": {"a-00", "a-01", "b-00"},
        "a-01.tar": {"a-01"},
    }.items():
        assert set(scan(opened(tmp_path, shards, name))) == keys
    with pytest.raises(BadSource, match="more than"):
        opened(tmp_path, shards, "a-{0..999999999}.tar")


def test_a_folder_with_pictures_is_no_folder_of_shards(tmp_path: Path) -> None:
    source = opened(tmp_path, {"a.png": A, "s.tar": kit.tar({"1.png": A})})
    assert set(scan(source)) == {"a.png"}
