"""The script of flips: what it makes is sound, each kind has files, and a few flips of each end well."""

import pytest

from benchmarks.flips import KINDS, table, trials


@pytest.mark.slow
def test_flips_are_found_or_harmless() -> None:
    found = list(trials(list(KINDS), range(4)))
    assert len(found) == 16
    assert [each for each in found if each.outcome in ("wrong", "traceback")] == []
    assert {each.outcome for each in found if each.kind != "database"} == {"found"}
    assert table(found).count("\n") == 1 + len(KINDS)
