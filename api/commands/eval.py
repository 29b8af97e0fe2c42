"""`anyseek eval`: how well a model finds what it should, beside its baselines."""

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from model.embedder import ModelError, load_embedder
from search.settings import read_settings

if TYPE_CHECKING:
    from search.emoji_suite import Row
    from search.evaluation import Recall


@click.command("eval")
@click.option("--suite", type=click.Choice(["emoji"]), required=True)
@click.option("--model", "name", default="4m-tiny", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def evaluate(suite: str, name: str, as_json: bool) -> None:
    """Measure a model on emoji of concepts that its training never saw.

    Takes a few minutes; the first run fetches the emoji with npm and pip.
    """
    from search.emoji_suite import run_emoji_suite

    home = read_settings().home
    try:
        embedder = load_embedder(name, home)
        rows = run_emoji_suite(embedder, home, lambda line: click.echo(line, err=True))
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        about = {"suite": suite, "model": embedder.name, "fingerprint": embedder.fingerprint}
        click.echo(json.dumps({**about, "rows": [dataclasses.asdict(row) for row in rows]}))
        return
    click.echo(f"{'query':22}{'n':>5}  {'model R@1 R@10':16}{'baseline':14}{'ridge':14}space")
    for row in rows:
        click.echo(_line(row))


def _line(row: "Row") -> str:
    numbers = [_pair(one) for one in (row.model, row.baseline, row.ridge)]
    return f"{row.kind:22}{row.model.queries:5}  {numbers[0]:16}{numbers[1]:14}{numbers[2]:14}{row.space}"


def _pair(one: "Recall") -> str:
    return f"{one.at_1:.2f}  {one.at_10:.2f}"
