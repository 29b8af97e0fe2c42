"""`benchmarks.guest` runs."""

from pathlib import Path

import pytest

from benchmarks.guest import DEFAULT, WAYS, Turn, busy, measured, way_process
from benchmarks.ingest.rates import make_photos


class Scripted:
    """A way whose turns are known."""

    def __init__(self, rates: list[float]) -> None:
        self._rates = rates

    def turn(self) -> Turn:
        return Turn(self._rates.pop(0), 20.0)


def test_the_best_way_is_compared_with_the_default_by_medians() -> None:
    told = measured({DEFAULT: Scripted([10, 40, 20]), "other": Scripted([30, 25, 1])}, neighbours=0, rounds=3)
    assert told["ways"][DEFAULT] == {"photos_a_second": 20, "least": 10, "most": 40, "processor_ms": 20.0}
    assert (told["best"], told["best_by_default"]) == ("other", 1.25)


def test_every_way_of_the_grid_is_there() -> None:
    grid = {(way.get("ANYSEEK_THREADS"), way.get("ANYSEEK_WORK_EMBEDDERS")) for way in WAYS.values()}
    assert grid == {(None, None), ("1", "1"), ("2", "1"), ("2", "2"), ("4", "2")}


def test_ways_index_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path / "home"))
    photos = make_photos(tmp_path / "photos", 2, (32, 24))[0].parent
    before = set(tmp_path.iterdir())
    with way_process(photos, "hashing", WAYS[DEFAULT]) as way, busy(1):
        assert way.turn().rate > 0
        assert way.turn().processor_ms > 0
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "home"}
