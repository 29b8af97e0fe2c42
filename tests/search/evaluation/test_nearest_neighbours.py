"""The ImageNet protocol on small folders, with the hashing model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.model.files import FileLock
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.errors import BadInput, Conflict, NotAligned
from anyseek.search.evaluation import nearest_neighbours
from anyseek.search.evaluation.nearest_neighbours import Batch, cached_vectors, nearest, neighbour_accuracy, winner

CLASSES = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (30, 60, 220)}


def _load(path: Path) -> ByteArray:
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except OSError as error:
        raise BadInput(f"{path.name} is a damaged picture") from error


def _write(folder: Path, each: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    for name, colour in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            noise = generator.integers(-25, 26, (32, 32, 3))
            picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / name / f"{number}.png")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    _write(tmp_path / "data" / "train", 12, 0)
    _write(tmp_path / "data" / "val", 4, 1)
    return tmp_path / "data"


class _Counting(HashingEmbedder):
    """Counts pictures; is killed after `most` of them."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self.seen, self._most = 0, most

    def embed(self, samples, spaces) -> dict[str, FloatArray]:  # type: ignore[no-untyped-def]
        if self._most is not None and self.seen + len(samples) > self._most:
            raise KeyboardInterrupt
        self.seen += len(samples)
        return super().embed(samples, spaces)


def _run(embedder: HashingEmbedder, data: Path, tmp_path: Path):
    return neighbour_accuracy(embedder, "hashing", data, tmp_path / "cache", _load, lambda line: None)


def test_colours_are_told_apart_by_their_neighbours(data: Path, tmp_path: Path) -> None:
    result = _run(HashingEmbedder(), data, tmp_path)
    assert (result.training_pictures, result.validation_pictures, result.classes) == (36, 12, 3)
    assert result.top_1.value == 1.0
    assert result.top_1_plain.value == 1.0
    assert result.unreadable == ()


def test_a_second_run_takes_the_vectors_from_the_cache(data: Path, tmp_path: Path) -> None:
    first, second = _Counting(), _Counting()
    assert _run(first, data, tmp_path) == _run(second, data, tmp_path)
    assert (first.seen, second.seen) == (48, 0)
    (data / "val" / "red" / "0.png").write_bytes((data / "val" / "blue" / "0.png").read_bytes() + b"more")
    third = _Counting()
    assert _run(third, data, tmp_path).top_1.value < 1.0
    assert third.seen == 12, "the training pictures are as they were"


def test_a_run_that_was_stopped_goes_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_neighbours, "_FILES_AT_ONCE", 8)
    stopped, after = _Counting(most=20), _Counting()
    with pytest.raises(KeyboardInterrupt):
        _run(stopped, data, tmp_path)
    result = _run(after, data, tmp_path)
    assert stopped.seen == 16
    assert stopped.seen + after.seen == 48
    assert result == _run(HashingEmbedder(), data, tmp_path / "elsewhere")


def test_what_cannot_be_decoded_is_left_out_and_told(data: Path, tmp_path: Path) -> None:
    (data / "train" / "green" / "3.png").write_bytes(b"no picture")
    result = _run(HashingEmbedder(), data, tmp_path)
    assert result.training_pictures == 35
    assert result.unreadable == ("train/green/3.png: 3.png is a damaged picture",)
    assert _run(HashingEmbedder(), data, tmp_path) == result


@pytest.mark.parametrize("missing", ["train", "val"])
def test_folders_that_are_missing_are_named(data: Path, tmp_path: Path, missing: str) -> None:
    (data / missing).rename(data / "elsewhere")
    with pytest.raises(NotAligned, match=missing):
        _run(HashingEmbedder(), data, tmp_path)


def test_a_class_that_was_never_trained_on_is_refused(data: Path, tmp_path: Path) -> None:
    (data / "val" / "red").rename(data / "val" / "purple")
    with pytest.raises(NotAligned, match="purple"):
        _run(HashingEmbedder(), data, tmp_path)


def test_neighbours_are_the_same_however_many_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    known = generator.standard_normal((101, 16)).astype(np.float16)
    queries = generator.standard_normal((7, 16)).astype(np.float32)
    rows = np.flatnonzero(np.arange(101) % 5 != 0)
    cosines, places = nearest(queries, known, rows)
    exact = queries @ known[rows].astype(np.float32).T
    assert np.array_equal(places, np.argsort(-exact, axis=1)[:, :20])
    monkeypatch.setattr(nearest_neighbours, "_KNOWN_AT_ONCE", 13)
    again, same = nearest(queries, known, rows)
    assert np.array_equal(places, same)
    np.testing.assert_allclose(cosines, again, rtol=1e-6)


def test_the_vote_counts_weights_and_of_equals_the_nearest_wins() -> None:
    votes = np.array([[2, 1, 1, 0], [2, 1, 1, 0], [3, 4, 5, 6]])
    weights = np.array([[1.0, 0.6, 0.5, 0.9], [1.0, 0.4, 0.4, 0.9], [1.0, 1.0, 1.0, 1.0]], np.float32)
    assert winner(votes, weights).tolist() == [1, 2, 3]


def test_a_cache_of_something_else_or_damaged_is_made_anew(tmp_path: Path) -> None:
    made: list[int] = []

    def embed(start: int, stop: int) -> Batch:
        made.extend(range(start, stop))
        return Batch(np.full((stop - start, 2), 0.5, np.float32), {0: "torn"} if start == 0 else {})

    first = cached_vectors(tmp_path, "one", (5, 2), embed, 2)
    assert first.unreadable == {0: "torn"}
    assert made == [0, 1, 2, 3, 4]
    cached_vectors(tmp_path, "one", (5, 2), embed, 2)
    assert len(made) == 5
    cached_vectors(tmp_path, "other", (5, 2), embed, 2)
    assert len(made) == 10
    (tmp_path / "progress.json").write_text("{")
    assert np.array_equal(cached_vectors(tmp_path, "other", (5, 2), embed, 2).vectors, first.vectors)
    assert len(made) == 15


def test_a_cache_that_another_process_fills_is_left_alone(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock"), pytest.raises(Conflict, match="another process"):
        cached_vectors(tmp_path, "one", (1, 2), lambda start, stop: Batch(np.zeros((1, 2), np.float32), {}), 1)


def test_samples_are_embedded_as_they_are(data: Path, tmp_path: Path) -> None:
    _run(HashingEmbedder(), data, tmp_path)
    held = [np.load(path) for path in (tmp_path / "cache").glob("*/vectors.npy")]
    wanted = HashingEmbedder().embed([Sample({"rgb": _load(data / "val" / "blue" / "0.png")})], ["hashing"])["hashing"]
    validation = next(rows for rows in held if len(rows) == 12)
    np.testing.assert_allclose(validation[0], wanted[0], atol=1e-3)
