"""The benchmark of many near-duplicates makes copies and counts those that are found."""

from click.testing import CliRunner

from benchmarks.duplicates_at_scale import main


def test_all_copies_of_a_small_collection_are_found() -> None:
    result = CliRunner().invoke(main, ["--items", "40", "--dimension", "32"], catch_exceptions=False)
    assert result.output.startswith("40 items: 4 of 4 copies found, 0 wrong, ")
