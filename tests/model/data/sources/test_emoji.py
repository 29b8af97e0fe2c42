"""Emoji as samples, with a few made-up drawings, concepts, and an npm that packs files from here."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.samples import Split
from anyseek.model.data.sources import emoji
from anyseek.model.data.sources.emoji import (
    Art,
    base_concept,
    has_skin_tone,
    hexcodes_by_name,
    npm_json,
    parse_concepts,
    split_of,
)

SVG = """<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">
  <g id="color">{colour}</g>
  <g id="line"><rect x="10" y="10" width="52" height="52" fill="none" stroke="#000000" stroke-width="4"/></g>
</svg>"""
RED = '<rect x="10" y="10" width="52" height="52" fill="#ff0000"/>'
CODES = ("1F355", "1F468", "1F469", *(f"1F3{number:02X}" for number in range(0x70, 0xA0)))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> emoji.EmojiSource:
    """All vendors, drawn alike; OpenMoji's 1F370 has no colours, the others' 1F371 are no SVG."""
    emoji._art.cache_clear()
    openmoji = [Art("openmoji", code, SVG.format(colour="" if code == "1F370" else RED)) for code in CODES]
    svgs = {code: "words" if code == "1F371" else SVG.format(colour=RED) for code in CODES}
    monkeypatch.setattr(emoji, "fetch_openmoji", lambda downloads: openmoji)
    monkeypatch.setattr(emoji, "fetch_vendor", lambda vendor, *_: [Art(vendor, *pair) for pair in svgs.items()])
    vendors = ("openmoji", "openmoji-unlined", "fluent", "noto", "emojione")
    return emoji.EmojiSource("emoji", vendors, tmp_path, 48)


def keys(source: emoji.EmojiSource, split: Split, vendor: str) -> set[str]:
    return {key.partition("/")[2] for key in source.keys(split) if key.startswith(f"{vendor}/")}


def test_splits_are_by_concept_for_all_vendors_and_one_vendor_is_held_out(source):
    for vendor in ("openmoji", "fluent", "noto"):
        assert keys(source, Split.TEST, vendor) == {c for c in CODES if split_of(c) is Split.TEST}
        assert keys(source, Split.VAL, vendor) == {c for c in CODES if split_of(c) is Split.VAL}
        assert len(set().union(*(keys(source, split, vendor) for split in Split))) == len(CODES)
    assert keys(source, Split.TEST, "emojione") == set(CODES)
    assert not keys(source, Split.TRAIN, "emojione")
    concepts = [{base_concept(c) for c in keys(source, split, "noto")} for split in Split]
    assert not concepts[0] & concepts[2]


def test_what_cannot_be_drawn_is_refused_or_left_out(source):
    with pytest.raises(SampleInvalid, match="cannot draw"):
        source.sample("noto/1F371")
    every = set().union(*(keys(source, split, "openmoji-unlined") for split in Split))
    assert set(CODES) - every == {"1F370"}


def test_a_sample_has_picture_lines_name_and_concept(source):
    sample = source.sample("openmoji/1F355")
    assert sample.values["rgb"].shape == (48, 48, 3)
    assert sample.values["rgb"][24, 24].tolist() == [255, 0, 0]
    assert (sample.values["line_drawing"][24, 24], sample.values["line_drawing"].max()) == (0, 255)
    about = {"label": "pizza", "concept": "1F355", "medium": "emoji"}
    assert about.items() <= sample.attributes.items()
    assert source.sample("noto/1F468").attributes["concept"] == source.sample("noto/1F469").attributes["concept"]


def test_an_unlined_picture_has_no_lines_and_vendors_without_lines_have_none(source):
    unlined = source.sample("openmoji-unlined/1F355").values
    assert unlined["rgb"].reshape(-1, 3).sum(axis=1).min() == 255  # red and white, no black
    assert unlined["line_drawing"].max() == 255
    assert "line_drawing" in source.sample("fluent/1F355").values
    assert "line_drawing" not in source.sample("noto/1F355").values


def test_licences_and_packages_are_those_of_the_vendors_that_are_used(source, tmp_path):
    assert "CC BY-SA 4.0" in source.licence
    assert "fluent-emoji-high-contrast@" in source.origin
    assert "twemoji" not in source.origin
    assert "npm" not in emoji.EmojiSource("e", ("openmoji",), tmp_path, 8).licence


def test_skin_tones_and_genders_share_a_concept() -> None:
    bases = {
        **{"1F355": "1F355", "270b-fe0f": "270B", "270B-1F3FD": "270B", "2640-FE0F": "2640", "1F467": "1F9D2"},
        **{"1F469-200D-1F373": "1F9D1-200D-1F373", "1F468-1F3FB-200D-1F373": "1F9D1-200D-1F373"},
        "1F471-200D-2640-FE0F": "1F471",
    }
    assert {code: base_concept(code) for code in bases} == bases


def test_splits_are_fixed_and_skin_tones_known() -> None:
    assert [split_of(code).value for code in ("1F355", "2615", "1F431")] == ["train", "val", "val"]
    assert [code for code in ("270B-1F3FD", "1F3FB", "270B") if has_skin_tone(code)] == ["270B-1F3FD", "1F3FB"]


def test_concepts_carry_tags_and_short_names() -> None:
    table = [{"hexcode": "270B-FE0F", "label": "raised hand", "tags": ["stop"]}, {"hexcode": "1F355", "label": "pizza"}]
    concepts = parse_concepts(table, {"270B": ["hand_up", "stop"], "1F355": "pizza_slice"})
    assert concepts["270B"].tags == ("stop", "hand up")
    assert concepts["1F355"].tags == ("pizza slice",)
    names = hexcodes_by_name(concepts)
    assert names["raisedhand"] == "270B"
    assert names["sliceofpizza"] == "1F355"


PACKAGE = "@scope/icons@1.0.0"


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the command `npm`, which copies `packed.tgz` and counts its calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    with tarfile.open(folder / "packed.tgz", "w:gz") as archive:
        for name, value in (("package/icons.json", {"a": 1}), ("package/en/data.json", [2]), ("package/x.txt", "")):
            member = tarfile.TarInfo(name)
            data = json.dumps(value).encode()
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (folder / "npm").write_text(f"#!/bin/sh\necho call >> {folder}/calls\n/bin/cp {folder}/packed.tgz icons.tgz\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_files_are_read_and_the_package_is_fetched_once(npm, tmp_path):
    for _ in range(2):
        found = npm_json(PACKAGE, ("icons.json", "en/data.json"), tmp_path / "downloads")
        assert found == {"icons.json": {"a": 1}, "en/data.json": [2]}
    assert (npm / "calls").read_text() == "call\n"


def test_a_missing_file_and_a_broken_package_are_refused(npm, tmp_path):
    with pytest.raises(SourceUnavailable, match=r"@scope/icons@1\.0\.0 has no file other\.json"):
        npm_json(PACKAGE, ("icons.json", "other.json"), tmp_path)
    next(tmp_path.rglob("icons.tgz")).write_bytes(b"words")
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        npm_json(PACKAGE, ("icons.json",), tmp_path)


def test_npm_that_fails_or_is_not_there_leaves_nothing(npm, tmp_path, monkeypatch):
    (npm / "npm").write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    with pytest.raises(SourceUnavailable, match="no such package"):
        npm_json(PACKAGE, ("icons.json",), tmp_path / "downloads")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(SourceUnavailable, match="npm is needed"):
        npm_json(PACKAGE, ("icons.json",), tmp_path / "downloads")
    assert not list((tmp_path / "downloads" / "npm").iterdir())
