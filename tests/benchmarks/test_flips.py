"""The script of flips: what it makes is sound, each kind has files, and a few flips of each end well."""

import pytest

from benchmarks.flips import BACKUP, KINDS, main, table, trials


@pytest.mark.slow
def test_flips_are_found_or_harmless() -> None:
    found = list(trials(list(KINDS), range(4)))
    assert len(found) == 4 * len(KINDS)
    assert [each for each in found if each.outcome in ("wrong", "traceback")] == []
    assert {each.outcome for each in found if each.kind not in ("database", BACKUP)} == {"found"}
    assert table(found).count("\n") == 1 + len(KINDS)


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--flips", "1", "--seed", "2", "--kinds", "snapshot"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| snapshot | 1 | 1 | 0 | 0 | 0 | 0 |"
