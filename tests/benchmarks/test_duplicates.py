"""The benchmark of near-duplicates changes photos, and tells for each source what is linked."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import benchmarks.duplicates
from anyseek.model.hashing import HashingEmbedder
from benchmarks.duplicates import CHANGES, main
from tests.search.evaluation.test_transfer import packs

__all__ = ["packs"]


def test_every_source_has_a_row(packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.duplicates, "load_model", lambda name, home: HashingEmbedder())
    result = CliRunner().invoke(main, [str(packs), "--limit", "6", "--changed", "2"], catch_exceptions=False)
    heading, *rows = [line.split(" | ") for line in result.output.splitlines() if " | " in line]
    assert {row[0] for row in rows} == {"captions", "sketchy", "nyu-depth-v2", "caltech101"}
    assert heading[2:-3] == list(CHANGES)
    assert all(0 <= float(cell) <= 1 for row in rows for cell in row[2 : 3 + len(CHANGES)])
