"""Emoji as samples, with a few made-up drawings instead of fetched ones."""

from pathlib import Path

import pytest

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.samples import Split
from anyseek.model.data.sources import emoji
from anyseek.model.data.sources.emoji import Art, base_concept, split_of

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
    colours = {code: "" if code == "1F370" else RED for code in CODES}
    monkeypatch.setattr(
        emoji,
        "fetch_openmoji",
        lambda downloads: [Art("openmoji", code, SVG.format(colour=colours[code])) for code in CODES],
    )
    monkeypatch.setattr(
        emoji,
        "fetch_vendor",
        lambda vendor, concepts, downloads: [
            Art(vendor, code, "words" if code == "1F371" else SVG.format(colour=RED)) for code in CODES
        ],
    )
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


def test_a_drawing_without_colours_has_no_unlined_picture(source):
    every = set().union(*(keys(source, split, "openmoji-unlined") for split in Split))
    assert set(CODES) - every == {"1F370"}


def test_a_sample_has_picture_lines_name_and_concept(source):
    sample = source.sample("openmoji/1F355")
    assert sample.values["rgb"].shape == (48, 48, 3)
    assert sample.values["rgb"][24, 24].tolist() == [255, 0, 0]
    assert sample.values["line_drawing"][24, 24] == 0
    assert sample.values["line_drawing"].max() == 255
    assert sample.attributes["label"] == "pizza"
    assert sample.attributes["concept"] == "1F355"
    assert sample.attributes["medium"] == "emoji"
    assert source.sample("noto/1F468").attributes["concept"] == source.sample("noto/1F469").attributes["concept"]


def test_an_unlined_picture_has_no_lines_and_vendors_without_lines_have_none(source):
    unlined = source.sample("openmoji-unlined/1F355").values
    assert unlined["rgb"].reshape(-1, 3).sum(axis=1).min() == 255  # red and white, no black
    assert unlined["line_drawing"].max() == 255
    assert "line_drawing" in source.sample("fluent/1F355").values
    assert "line_drawing" not in source.sample("noto/1F355").values


def test_what_cannot_be_drawn_is_refused(source):
    with pytest.raises(SampleInvalid, match="cannot draw"):
        source.sample("noto/1F371")


def test_licences_and_packages_are_those_of_the_vendors_that_are_used(source, tmp_path):
    assert "CC BY-SA 4.0" in source.licence
    assert "fluent-emoji-high-contrast@" in source.origin
    assert "twemoji" not in source.origin
    assert "npm" not in emoji.EmojiSource("e", ("openmoji",), tmp_path, 8).licence
