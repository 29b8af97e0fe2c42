import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anyseek.indexer.pipeline import EmbedderPool, embed_samples
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.settings import Settings, Work

SPACE = "hashing"
SAMPLES = [Sample({"caption": f"picture {number}"}) for number in range(21)]


class Meeting(HashingEmbedder):
    """Embeds once as many threads are here at the same time."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._all_here = threading.Barrier(threads, timeout=20)
        self.shares: list[int] = []

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self._all_here.wait()
        self.shares.append(len(samples))
        return super().embed_gallery(samples, spaces)


class Failing(HashingEmbedder):
    """Fails at one sample, and makes what is no number of another."""

    def __init__(self, fails: str, breaks: str) -> None:
        super().__init__()
        self._fails, self._breaks = fails, breaks

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        texts = [sample.values["caption"] for sample in samples]
        if self._fails in texts:
            raise RuntimeError("this one cannot be embedded")
        found = super().embed_gallery(samples, spaces)
        for rows in found.values():
            rows[[text == self._breaks for text in texts]] = np.nan
        return found


@pytest.fixture
def spaces() -> list[str]:
    return list(HashingEmbedder().spaces)


def embedders(count: int, threads: int = 2) -> EmbedderPool:
    return EmbedderPool(Settings(Path(), threads=threads, work=replace(Work(), embedders=count)))


@pytest.mark.parametrize(
    ("samples", "at_once", "shares"), [(21, 3, [7, 7, 7]), pytest.param(3, 1, [3], id="few are not divided")]
)
def test_several_embed_at_once_and_share_evenly(
    spaces: list[str], samples: int, at_once: int, shares: list[int]
) -> None:
    model, several = Meeting(at_once), embedders(3)
    several.embed(model, SAMPLES[:samples], spaces)
    several.close()
    assert sorted(model.shares) == shares


@pytest.mark.parametrize("count", [1, 5, 30])
def test_vectors_come_in_the_order_of_the_samples(spaces: list[str], count: int) -> None:
    several = embedders(count)
    found = several.embed(HashingEmbedder(), SAMPLES, spaces)
    several.close()
    expected = embed_samples(HashingEmbedder(), SAMPLES, spaces)
    assert len(found) == len(SAMPLES)
    for vectors, alone in zip(found, expected, strict=True):
        for space in spaces:
            np.testing.assert_array_equal(vectors[space], alone[space])


@pytest.mark.parametrize("model", [Failing("picture 20", ""), Failing("", "picture 20")])
def test_a_failure_of_one_share_is_raised_and_the_next_samples_are_embedded(
    model: HashingEmbedder, spaces: list[str]
) -> None:
    several = embedders(2)
    with pytest.raises((RuntimeError, ValueError), match=r"cannot be embedded|not finite"):
        several.embed(model, SAMPLES, spaces)
    assert len(several.embed(model, SAMPLES[:4], spaces)) == 4
    several.close()


def test_there_are_as_many_as_threads_unless_the_settings_say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert EmbedderPool(Settings(Path())).count == 3
    assert embedders(0, threads=2).count == 2
    assert embedders(5, threads=2).count == 5


@pytest.mark.parametrize(("device", "cards", "count"), [("cuda", 1, 1), ("auto", 1, 1), ("auto", 0, 3), ("cpu", 1, 3)])
def test_a_card_sees_all_samples_together(monkeypatch: pytest.MonkeyPatch, device: str, cards: int, count: int) -> None:
    """Shares of several embedders would be small batches, one after another on the same card."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    assert EmbedderPool(Settings(Path(), threads=3, device=device)).count == count
    assert EmbedderPool(Settings(Path(), threads=3, device=device, work=Work(embedders=2))).count == 2
