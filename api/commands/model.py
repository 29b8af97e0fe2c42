"""`anyseek model …`: checking the networks themselves."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from anyseek.model.golden.runner import CaseReport


@click.group()
def model() -> None:
    """Check the networks against recorded numbers."""


@model.command("check-golden")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("as_json", "--json", is_flag=True, help="Print one JSON object per case, each on a line.")
@click.option(
    "--vocabulary",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The text tokenizer's file; cases with texts need it.",
)
@click.option("--only", default="*", metavar="GLOB", help="Run only cases whose name matches.")
def check_golden(directory: Path, as_json: bool, vocabulary: Path | None, only: str) -> None:
    """Run the recorded cases of DIRECTORY. Exits with 1 if any fails.

    A case is one .npz file, schedules.json, text_formats.json or one file of keys/, and is named by its file's stem.
    """
    from anyseek.model.golden.checkers import CheckOptions
    from anyseek.model.golden.runner import check_directory

    reports = []
    for report in check_directory(directory, CheckOptions(vocabulary), only):
        reports.append(report)
        click.echo(json.dumps(report.as_json()) if as_json else _row(report))
    if not reports:
        raise click.ClickException(f"no case in {directory} matches {only!r}")
    if not all(report.ok for report in reports):
        raise SystemExit(1)


def _row(report: "CaseReport") -> str:
    """One line of the table for people."""
    verdict = "ok  " if report.ok else "FAIL"
    error = "-" if report.max_abs_err is None else f"{report.max_abs_err:.1e} of {report.tolerance:.0e}"
    return f"{verdict}  {report.case:<36}{error:<20}{report.reason}".rstrip()
