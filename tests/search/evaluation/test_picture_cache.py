"""Pictures that were encoded once are not encoded again, by this process or another."""

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import FloatArray
from anyseek.search.errors import Conflict
from anyseek.search.evaluation.picture_cache import CachedEncoders, PictureCache, cached

Vectors = tuple[FloatArray, FloatArray]


class CountingEncoders:
    """The vector of a picture is its mean, its logits its height; counts what it is shown."""

    def __init__(self) -> None:
        self.shown = 0

    def pictures(self, pictures: Sequence[ByteArray]) -> Vectors:
        self.shown += len(pictures)
        means = np.array([[picture.mean()] * 1280 for picture in pictures], np.float32)
        return means, np.array([[len(picture)] * 1000 for picture in pictures], np.float32)

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        return np.ones((len(texts), 384), np.float32)

    def conse(self, logits: FloatArray) -> FloatArray:
        return logits[:, :384]


def _picture(number: int, height: int = 4) -> ByteArray:
    return np.full((height, 5, 3), number, np.uint8)


def test_a_picture_is_encoded_once(tmp_path: Path) -> None:
    encoders = CountingEncoders()
    known = cached(encoders, "a" * 64, tmp_path)
    first = known.pictures([_picture(1), _picture(2), _picture(1)])
    assert encoders.shown == 2
    again = cached(encoders, "a" * 64, tmp_path).pictures([_picture(2), _picture(3), _picture(1)])
    assert encoders.shown == 3
    for mine, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine[[1, 0]], other[[0, 2]])
    assert first[0].shape == (3, 1280)
    assert first[1].shape == (3, 1000)
    assert known.pictures([_picture(1, height=8)])[1][0, 0] == 8, "another shape is another picture"
    assert known.sentences(["a"]).shape == (1, 384)


def test_other_encoders_have_a_cache_of_their_own(tmp_path: Path) -> None:
    encoders = CountingEncoders()
    for fingerprint in ("a" * 64, "b" * 64):
        cached(encoders, fingerprint, tmp_path).pictures([_picture(1)])
    assert encoders.shown == 2


def test_those_that_were_not_used_for_longest_are_forgotten(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "c.sqlite", most=3)
    for number in range(3):
        cache.put({bytes([number]): np.ones(2, np.float32) * number})
    cache.get([b"\0"])
    cache.put({b"\3": np.ones(2, np.float32)})
    assert set(cache.get([bytes([number]) for number in range(4)])) == {b"\0", b"\2", b"\3"}


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_bytes(b"no database, and long enough to be looked at " * 100)
    cache = PictureCache(tmp_path / "c.sqlite")
    cache.put({b"k": np.ones(2, np.float32)})
    assert set(cache.get([b"k"])) == {b"k"}


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").mkdir()
    with pytest.raises(Conflict, match=r"c\.sqlite cannot be used"):
        PictureCache(tmp_path / "c.sqlite")


_WRITER = """
import sys
from pathlib import Path
import numpy as np
from anyseek.search.evaluation.picture_cache import PictureCache
cache, first = PictureCache(Path(sys.argv[1])), int(sys.argv[2])
for number in range(first, first + 40):
    cache.put({number.to_bytes(2, "big"): np.full(2280, number, np.float32)})
"""


def test_processes_share_it(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, path, str(first)]) for first in (0, 40)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = PictureCache(path).get([number.to_bytes(2, "big") for number in range(80)])
    assert [int(numbers[0]) for numbers in found.values()] == list(range(80))
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_encoders_are_cached_as_they_are(tmp_path: Path) -> None:
    encoders = CountingEncoders()
    plain = encoders.pictures([_picture(7)])
    kept = CachedEncoders(encoders, PictureCache(tmp_path / "c.sqlite"))
    for _ in range(2):
        for mine, other in zip(kept.pictures([_picture(7)]), plain, strict=True):
            np.testing.assert_array_equal(mine, other)
