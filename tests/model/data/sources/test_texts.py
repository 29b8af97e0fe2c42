"""Texts without pictures: plain lines and JSON lines, compressed or not."""

import copy
import gzip
import json
from pathlib import Path

import pytest

from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import Place
from anyseek.model.data.samples import Caption, Origin, Shares, Split
from anyseek.model.data.sources.texts import TextOptions, TextsSource

LINES = [f"line {number} of a text, café" for number in range(200)]


def open_texts(pattern: Path, home: Path, **more: object) -> TextsSource:
    options = TextOptions(path=pattern, licence="CC0", **more)  # type: ignore[arg-type]
    return TextsSource("texts", options, Place(home, 224, Shares(val=0.1, test=0.1)))


def said(source: TextsSource) -> list[str]:
    keys = sorted(key for split in Split for key in source.keys(split))
    return [source.sample(key).values["caption"][0].text for key in keys]


def test_every_kind_of_file_gives_the_same_texts(tmp_path):
    plain, listed = "\n\n".join(LINES), "\n".join(json.dumps({"text": line, "url": "x"}) for line in LINES)
    (tmp_path / "a.txt").write_text(plain, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(listed, encoding="utf-8")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(plain.encode()))
    (tmp_path / "d.json.gz").write_bytes(gzip.compress(listed.encode()))
    for name in ("a.txt", "b.jsonl", "c.txt.gz", "d.json.gz"):
        assert said(open_texts(tmp_path / name, tmp_path / "home")) == LINES
    assert said(open_texts(tmp_path / "*.*", tmp_path / "home")) == LINES * 4


def test_samples_have_a_caption_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("  two   words \n", encoding="utf-8")
    source = copy.deepcopy(open_texts(tmp_path / "a.txt", tmp_path / "home"))  # as good as what workers get
    (key,) = [key for split in Split for key in source.keys(split)]
    assert source.sample(key).values == {"caption": (Caption("two words", Origin.HUMAN),)}


def test_splits_are_shares_and_do_not_overlap(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(LINES), encoding="utf-8")
    source = open_texts(tmp_path / "a.txt", tmp_path / "home")
    keys = [key for split in Split for key in source.keys(split)]
    assert len(keys) == len(set(keys)) == len(LINES)
    assert 0 < len(source.keys(Split.VAL)) < 50


def test_compressed_files_are_unpacked_once_and_anew_when_they_change(tmp_path):
    packed = tmp_path / "a.txt.gz"
    packed.write_bytes(gzip.compress(b"one\n"))
    assert said(open_texts(packed, tmp_path)) == ["one"]
    assert said(open_texts(packed, tmp_path)) == ["one"]
    assert len(list((tmp_path / "downloads" / "texts").iterdir())) == 1
    packed.write_bytes(gzip.compress(b"another\n"))
    assert said(open_texts(packed, tmp_path)) == ["another"]


def test_long_texts_are_cut_at_a_space(tmp_path):
    (tmp_path / "a.txt").write_text("some words\nunbroken\n", encoding="utf-8")
    assert said(open_texts(tmp_path / "a.txt", tmp_path, characters=6)) == ["some", "unbrok"]


def test_what_is_no_text_is_said(tmp_path):
    with pytest.raises(SourceUnavailable, match="no file that matches"):
        open_texts(tmp_path / "*.txt", tmp_path)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\n" * 999)[:20])
    with pytest.raises(SourceUnavailable, match=r"a\.txt\.gz cannot be read"):
        open_texts(tmp_path / "a.txt.gz", tmp_path)
    assert not list((tmp_path / "downloads" / "texts").iterdir())
    (tmp_path / "b.jsonl").write_bytes(b'{"body": "x"}\n{"text": \n\xff\n')
    source = open_texts(tmp_path / "b.jsonl", tmp_path)
    keys = sorted(key for split in Split for key in source.keys(split))
    for key, reason in zip(keys, ("no text called 'text'", "cannot be read", "cannot be read"), strict=True):
        with pytest.raises(SampleInvalid, match=reason):
            source.sample(key)
