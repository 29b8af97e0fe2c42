"""`anyseek config`: shows the settings, and checks that they work."""

import json
import os

import click

from anyseek.search.settings import read_settings, shown, variables

FINE, NOT_FINE = 0, 1


@click.group()
def config() -> None:
    """Show the settings, and check that they work."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(as_json: bool) -> None:
    """Print every setting as the variable that sets it, with passwords masked. A * marks the variables that are set."""
    values = {name: shown(name, value) for name, value in variables(read_settings())}
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    for name, value in values.items():
        click.echo(f"{'*' if os.environ.get(name) else ' '} {name}={value}")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def check(as_json: bool) -> int:
    """Connect to everything that the settings name, and say what is wrong and how to repair it.

    Exits with 0 if all is well and 1 if not.
    """
    from anyseek.workers.checks import check_all

    code = FINE
    for finding in check_all(read_settings(), dict(os.environ)):
        if not finding.is_fine:
            code = NOT_FINE
        if as_json:
            members = {"what": finding.what, "fine": finding.is_fine, "found": finding.found, "remedy": finding.remedy}
            click.echo(json.dumps(members))
        else:
            mark, remedy = ("ok   ", "") if finding.is_fine else ("WRONG", f"; {finding.remedy}")
            click.echo(f"{mark} {finding.what}: {finding.found}{remedy}")
    return code
