"""Run recorded cases: `python -m tests.golden DIR [--vocabulary FILE] [--only GLOB] [--json]`.

A case is one .npz file, schedules.json, text_formats.json or one file of keys/, and is named by its file's stem. A
directory of cases holds the inputs and outputs of the reference, but no weights: both sides fill them by the same rule
(`weights.py`). `cases.py` finds the cases, and `runner.py` runs each with the one checker that accepts it; each file of
`checkers/` handles one kind of case.
"""

import json
from pathlib import Path

import click

from tests.golden.checkers import CheckOptions
from tests.golden.runner import CaseReport, check_directory


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("as_json", "--json", is_flag=True, help="Print one JSON object per case, each on a line.")
@click.option(
    "--vocabulary",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The text tokenizer's file; cases with texts need it.",
)
@click.option("--only", default="*", metavar="GLOB", help="Run only cases whose name matches.")
def main(directory: Path, as_json: bool, vocabulary: Path | None, only: str) -> None:
    """Run the recorded cases of DIRECTORY. Exits with 1 if any fails."""
    reports = []
    for report in check_directory(directory, CheckOptions(vocabulary), only):
        reports.append(report)
        click.echo(json.dumps(report.as_json()) if as_json else _row(report))
    if not reports:
        raise click.ClickException(f"no case in {directory} matches {only!r}")
    if not all(report.ok for report in reports):
        raise SystemExit(1)


def _row(report: CaseReport) -> str:
    """One line of the table for people."""
    verdict = "ok  " if report.ok else "FAIL"
    error = "-" if report.max_abs_err is None else f"{report.max_abs_err:.1e} of {report.tolerance:.0e}"
    return f"{verdict}  {report.case:<36}{error:<20}{report.reason}".rstrip()


if __name__ == "__main__":
    main()
