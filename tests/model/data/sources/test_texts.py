"""Texts without pictures: plain lines and JSON lines."""

import copy
import json
from pathlib import Path

import pytest

from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import BuildSettings
from anyseek.model.data.samples import Shares, Split
from anyseek.model.data.sources.texts import TextOptions, TextsSource

LINES = [f"line {number} of a text, café" for number in range(200)]


def open_texts(pattern: Path, **more: object) -> TextsSource:
    options = TextOptions(path=pattern, licence="CC0", **more)
    return TextsSource("texts", options, BuildSettings(Path("home"), 224, Shares(val=0.1, test=0.1)))


def texts_of(source: TextsSource) -> list[str]:
    keys = sorted(key for split in Split for key in source.keys(split))
    return [source.sample(key).values["caption"][0].text for key in keys]


def test_every_kind_of_file_gives_the_same_texts(tmp_path):
    plain, listed = "\n\n".join(LINES), "\n".join(json.dumps({"text": line, "url": "x"}) for line in LINES)
    (tmp_path / "a.txt").write_text(plain, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(listed, encoding="utf-8")
    for name in ("a.txt", "b.jsonl"):
        assert texts_of(open_texts(tmp_path / name)) == LINES
    assert texts_of(open_texts(tmp_path / "*.*")) == LINES * 2


def test_splits_are_shares_and_do_not_overlap(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(LINES), encoding="utf-8")
    source = copy.deepcopy(open_texts(tmp_path / "a.txt"))  # as good as what workers get
    keys = [key for split in Split for key in source.keys(split)]
    assert len(keys) == len(set(keys)) == len(LINES)
    assert 0 < len(source.keys(Split.VAL)) < 50


def test_long_texts_are_cut_at_a_space(tmp_path):
    (tmp_path / "a.txt").write_text("some words\nunbroken\n", encoding="utf-8")
    assert texts_of(open_texts(tmp_path / "a.txt", characters=6)) == ["some", "unbrok"]


def test_what_is_no_text_is_said(tmp_path):
    with pytest.raises(SourceUnavailable, match="no file that matches"):
        open_texts(tmp_path / "*.txt")
    (tmp_path / "a.txt.gz").write_bytes(b"")
    with pytest.raises(SourceUnavailable, match=r"a\.txt\.gz is compressed"):
        open_texts(tmp_path / "a*")
    (tmp_path / "b.jsonl").write_bytes(b'{"body": "x"}\n{"text": \n\xff\n')
    source = open_texts(tmp_path / "b.jsonl")
    keys = sorted(key for split in Split for key in source.keys(split))
    for key, reason in zip(keys, ("no text called 'text'", "cannot be read", "cannot be read"), strict=True):
        with pytest.raises(SampleInvalid, match=reason):
            source.sample(key)
