"""The script that times comparisons of facets and words prints a row for each of its steps."""

import pytest

from benchmarks.derived import main


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--items", "30"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "| 30 items | milliseconds |"
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        "compare attributes, processor",
        "compare words, processor",
        "first query by filter",
        "second query by filter",
        "first query by words",
        "second query by words",
    ]
