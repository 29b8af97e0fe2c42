"""A small share of `make soak`, and that it notices what it is there to notice."""

from pathlib import Path

import pytest

from anyseek import Client
from tests.soak.__main__ import compared, soak
from tests.soak.plan import Plan
from tests.soak.service import COLLECTION, Soaked
from tests.soak.slopes import Sample, of_longest_life, second_half, slopes_of


def sample(operations: int, life: int = 1, **figures: float) -> Sample:
    return Sample(float(operations), operations, life, figures)


@pytest.mark.slow
def test_a_small_share_of_a_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert soak(tmp_path, Plan.of(0.2), seed=1) == []
    said = capsys.readouterr().out
    assert "anyseek verify: everything agrees" in said
    assert "2 re-embeddings, 2 kills" in said
    assert said.count("\n| ") == 9


@pytest.mark.slow
def test_what_is_lost_changed_or_too_much_is_noticed(tmp_path: Path) -> None:
    service = Soaked(tmp_path)
    service.start()
    try:
        with Client(service.url, patience=60) as client:
            client.create_collection(COLLECTION)
            for key in ("kept", "changed", "too much"):
                client.put_item(COLLECTION, key, caption=f"a {key} dog")
            held = {"kept": "a kept dog", "changed": "a dog", "lost": "a lost dog"}
            said = [next(found) for found in [compared(client, held, 0)] for _ in range(3)]
    finally:
        service.stop()
    assert sorted(said) == [
        "the item changed is 'a changed dog' instead of 'a dog'",
        "the item lost is None instead of 'a lost dog'",
        "the item too much is 'a too much dog' instead of None",
    ]


def test_slopes() -> None:
    held = [sample(100 * number, memory=50 + 0.2 * number, descriptors=7.0) for number in range(40)]
    memory, descriptors = slopes_of(held, ("memory", "descriptors"))
    assert memory.growth == pytest.approx(2.0)
    assert (memory.first, memory.last, memory.most) == (50.0, pytest.approx(57.8), pytest.approx(57.8))
    assert descriptors.growth == pytest.approx(0.0)
    with pytest.raises(ValueError, match="2 samples are too few"):
        slopes_of(held[:2], ("memory",))


def test_samples_count_when_caches_and_keys_are_filled() -> None:
    lives = [sample(number, life=1 if number < 10 else 2, memory=1.0) for number in range(50)]
    assert [one.operations for one in of_longest_life(lives)] == list(range(20, 50))
    assert [one.operations for one in second_half(lives)] == list(range(25, 50))
