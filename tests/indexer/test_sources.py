"""What a folder's walk takes, ignores and refuses, and what sidecars and manifests say."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from anyseek.indexer.errors import BadDescription, OutsideFolder, SourceGone
from anyseek.indexer.paths import from_uri, one_line, to_key, to_uri
from anyseek.indexer.sources.base import SourceInput
from anyseek.indexer.sources.folder import FolderSource, PathTable
from anyseek.search.settings import Limits
from tests.forked import begun, exit_code
from tests.indexer.pictures import encoded, jpeg, noise, png, write

LIMITS = Limits()


def scan(root: Path) -> tuple[dict[str, SourceInput], int]:
    source = FolderSource(root, LIMITS)
    found = list(source.scan())
    assert len({one.uri for one in found}) == len(found)
    return {one.uri: one for one in found}, source.ignored


def test_content_or_extension_says_picture(tmp_path: Path) -> None:
    pictures = {"a.png": png(1), "b/c.JPG": jpeg(1), "no-suffix": png(2), "photo.dat": jpeg(3), "fake.png": "text"}
    pictures |= {f"sniffed-{kind}": encoded(noise(1), kind) for kind in ("GIF", "WEBP", "BMP", "TIFF")}
    others = {"notes.txt": "BMW is a car, BM an abbreviation", "data.json": "{}", "empty": "", "b/x.mp4": "...."}
    write(tmp_path, {**pictures, **others, "empty.jpg": "", "phone.heic": "?"})
    found, ignored = scan(tmp_path)
    assert set(found) == {*pictures, "empty.jpg", "phone.heic"}
    assert all(one.reason is None and one.key == one.uri for one in found.values())
    assert ignored == len(others)


def test_names_of_every_kind(tmp_path: Path) -> None:
    write(tmp_path, {"mit Leerzeichen/Äpfel 🍎.png": png(1), "back\\slash.png": png(2), "new\nline.png": png(3)})
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(raw)).write_bytes(png(4))
    found, _ = scan(tmp_path)
    assert {one.key for one in found.values()} == {
        "mit Leerzeichen/Äpfel 🍎.png",
        "back\\slash.png",
        "new\nline.png",
        "caf\\xe9.png",
    }
    for uri in found:
        assert (tmp_path / from_uri(uri)).is_file()
        uri.encode()
        assert "\n" not in one_line(uri)


def test_uris_can_be_read_back() -> None:
    for raw in (b"a/b c.png", "ü\\x41".encode(), b"\xff\\\xfe", b"\\\\x41", bytes(range(1, 256))):
        path = os.fsdecode(raw)
        assert from_uri(to_uri(path)) == path
    assert to_key("a\\b") == "a\\b"


def test_links(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, {"deep/a.png": png(1)})
    write(tmp_path, {"outside/b.png": png(2)})
    (root / "deep/loop").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "elsewhere").symlink_to(tmp_path / "outside")
    (root / "link.png").symlink_to("deep/a.png")
    (root / "broken.png").symlink_to("nothing.png")
    found, _ = scan(root)
    assert set(found) == {"deep/a.png", "link.png", "broken.png"}


def test_sidecars_and_their_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "x/a.jpg": jpeg(1),
            "x/a.json": {
                "key": "A1",
                "caption": " a bicycle ",
                "attributes": {"year": 1987},
                "modalities": {"depth": "../maps/a.png", "semseg": {"file": "ids.png", "classes": {"0": "sky"}}},
                "of another tool": True,
            },
            "maps/a.png": png(2),
            "x/ids.png": png(3),
            "x/b.json": {"file": "b.jpg", "key": "only the jpg"},
            "x/b.jpg": jpeg(4),
            "x/b.png": png(4),
        },
    )
    found, ignored = scan(tmp_path)
    assert {uri: one.key for uri, one in found.items()} == {
        "x/a.jpg": "A1",
        "x/b.jpg": "only the jpg",
        "x/b.png": "x/b.png",
    }
    assert ignored == 0
    said = FolderSource(tmp_path, LIMITS).describe("x/a.jpg")
    assert (said.caption, said.attributes) == ("a bicycle", {"year": 1987})
    assert {name: file.path for name, file in said.modalities.items()} == {"depth": "maps/a.png", "semseg": "x/ids.png"}
    assert said.modalities["semseg"].classes == {0: "sky"}


@pytest.mark.parametrize(
    ("sidecar", "reason"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"attributes": {"a": NaN}}', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ({"key": ""}, "the key"),
        ('{"key": "\\ud800"}', "the key"),
        ({"attributes": [1]}, "the field 'attributes'"),
        ('{"attributes": ' + '{"a":' * 33 + "1" + "}" * 34, "nested more than 32 deep"),
        ('{"attributes": {"a": "\\ud800"}}', "not JSON of Unicode text"),
        ({"attributes": {"a": "x" * 65_536}}, "at most 65,536 are allowed"),
        ({"caption": "x" * 10_001}, "the caption has 10,001 characters"),
        ({"modalities": {"smell": "a.png"}}, "'smell' is not a modality"),
        ({"modalities": {"sketch": "b.png", "canny_edge": "b.png"}}, "given twice"),
        ({"modalities": {"palette": "b.png"}}, "has no file form"),
        ({"modalities": {"depth": 4}}, "a path or an object"),
        ({"modalities": {"semseg": {"file": "b.png", "classes": {"sky": "0"}}}}, "ids to names"),
    ],
)
def test_wrong_sidecars(tmp_path: Path, sidecar: str | dict[str, Any], reason: str) -> None:
    write(tmp_path, {"a.png": png(1), "a.json": sidecar})
    found, _ = scan(tmp_path)
    assert found["a.png"].reason_code == BadDescription.code
    assert reason in str(found["a.png"].reason)
    assert "a.json" in str(found["a.png"].reason)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "link/x.png", "out.png", ".", "a\0b"])
def test_paths_outside_are_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    write(tmp_path, {"secret.png": png(9), "elsewhere/x.png": png(9)})
    write(root, {"a.png": png(1), "a.json": {"modalities": {"depth": path}}})
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    found, _ = scan(root)
    assert found["a.png"].reason_code == OutsideFolder.code


def test_a_manifest(tmp_path: Path) -> None:
    lines = [
        '{"file": "a.png", "key": "A", "caption": "first", "modalities": {"depth": "d/a.png"}}',
        "",
        '{"file": "gone.png", "key": "G"}',
        '{"key": "no file"}',
        "not json",
        '{"file": "../x.png"}',
        '{"file": "twice.png"}',
        '{"file": "twice.png", "key": "other"}',
        '{"file": "words.txt"}',
        '{"file": "d/a.png"}',
    ]
    files = {name: png(1) for name in ("a.png", "d/a.png", "twice.png", "plain.png")}
    write(tmp_path, {**files, "words.txt": "words", "manifest.jsonl": "\r\n".join(lines)})
    found, ignored = scan(tmp_path)
    assert ignored == 0
    assert {uri for uri, one in found.items() if one.reason is None} == {"a.png", "gone.png", "plain.png", "words.txt"}
    assert (found["a.png"].key, found["gone.png"].key, found["plain.png"].key) == ("A", "G", "plain.png")
    assert "has 2 lines" in str(found["twice.png"].reason)
    for number, reason in {4: "'file' is missing", 5: "not JSON", 6: "inside the folder", 10: "another item"}.items():
        assert reason in str(found[f"manifest.jsonl:{number}"].reason)
    assert FolderSource(tmp_path, LIMITS).describe("a.png").caption == "first"
    write(tmp_path, {"a.json": {}})
    assert "keep one of them" in str(scan(tmp_path)[0]["a.png"].reason), "a sidecar and a line contradict each other"


def test_a_folder_that_is_gone_or_replaced(tmp_path: Path) -> None:
    with pytest.raises(SourceGone, match="is gone"):
        FolderSource(tmp_path / "nothing", LIMITS)
    root = tmp_path / "root"
    write(root, {"a.png": png(1)})
    source = FolderSource(root, LIMITS)
    source.check()
    root.rename(tmp_path / "moved")
    with pytest.raises(SourceGone, match="is gone"):
        list(source.scan())
    write(root, {"a.png": png(1)})
    with pytest.raises(SourceGone, match="replaced"):
        source.check()
    write(root, {f"{n:02}/a.png": 1 for n in range(20)})
    walk = FolderSource(root, LIMITS).scan()
    next(walk)
    shutil.rmtree(root)
    with pytest.raises(SourceGone):
        list(walk)


def test_the_data_directory_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": png(1), "home/assets/b.png": png(2), "home2/c.png": png(3)})
    source = FolderSource(tmp_path, LIMITS, skip=tmp_path / "home")
    assert [one.uri for one in source.scan()] == ["a.png", "home2/c.png"]


def scan_as_nobody(root: Path) -> None:
    os.setuid(65534)
    found, _ = scan(root)
    assert {uri: one.reason_code for uri, one in found.items()} == {
        "closed/": "folder-unreadable",
        "open/a.png": None,
        "c.png": None,
    }


def test_a_folder_that_may_not_be_read_is_told(open_folder: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    write(open_folder, {"open/a.png": png(1), "closed/b.png": png(2), "c.png": png(3)})
    (open_folder / "closed").chmod(0)
    assert exit_code(begun(scan_as_nobody, open_folder)) == 0


def test_a_path_table_finds_what_was_added() -> None:
    table = PathTable()
    assert "x" not in table
    for number in range(1_000):
        table.add(f"folder/{number % 900}.png", number)
    assert table.find("folder/5.png") == [5, 905]
    assert table.find("folder/899.png") == [899]
    assert "folder/1000.png" not in table
