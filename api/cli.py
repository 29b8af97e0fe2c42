"""The command `anyseek`. Each subcommand is imported only when it is used, so that a query starts at once.

Exit codes: 0 done, 1 failed, 2 wrong usage or an input that cannot be understood, 130 interrupted; `index` also has
3, some inputs quarantined. An error is one line on stderr.
"""

import gc
import io
import sys
from importlib import import_module
from typing import Any

import click

from anyseek.api.commands.output import say

# name -> (its module in `anyseek.api.commands` and its name there, the line that `anyseek --help` shows)
COMMANDS = {
    "index": ("index:index", "Put the pictures of a folder into a collection."),
    "query": ("query:query", "Find items by words, pictures, drawings, colours and more."),
    "predict": ("predict:predict", "Predict any modalities from any others: depth, captions, …"),
    "serve": ("serve:serve", "Serve the HTTP API and the web page."),
    "collections": ("collections:collections", "List, make, show, re-embed and delete collections."),
    "items": ("items:items", "List, show, change and delete items."),
    "duplicates": ("items:duplicates", "Find near-duplicate pictures, such as smaller copies."),
    "facets": ("facets:facets", "Teach a collection attributes by a few labelled items."),
    "sources": ("jobs:source_commands", "List, move and forget the sources of a collection."),
    "mcp": ("mcp:mcp", "Give an assistant tools that search (Model Context Protocol)."),
    "worker": ("serve:worker", "Work on bulk jobs that others hand to a broker."),
    "jobs": ("jobs:jobs", "List, show and stop jobs, and retry the inputs that they could not index."),
    "verify": ("upkeep:verify", "Check that catalogue, log, index and files agree."),
    "rebuild": ("upkeep:rebuild", "Rebuild the index of a collection from the catalogue."),
    "config": ("serve:config", "Show the settings, and check that they work."),
    "backup": ("upkeep:backup", "Write everything that cannot be derived to one file."),
    "restore": ("upkeep:restore", "Restore a backup into an empty installation."),
    "audit": ("keys:audit", "List who changed what, and when."),
    "keys": ("keys:keys", "Make, list and revoke API keys."),
    "models": ("models:models", "List models, fetch weights, adapt and check them."),
    "data": ("data:data", "Build, show and verify training data."),
    "eval": ("eval:evaluate", "Measure how well a model finds things."),
    "train": ("train:train", "Train networks on data sets of shards."),
    "demo": ("demo:demo", "Index the demo gallery and serve it."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are named in `COMMANDS` and imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"anyseek.api.commands.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="anyseek")
def cli() -> None:
    """Find anything with anything: pictures by words, sketches, colours, depth maps, or all of them at once.

    Everything is kept in one directory, ANYSEEK_HOME (~/.anyseek unless set).
    """


def main() -> None:
    """The entry point: run the command and leave with its exit code."""
    code = run(sys.argv[1:])
    gc.freeze()  # else Python looks through all modules for garbage once more before it ends
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; an error becomes one line on stderr."""
    try:
        result: Any = cli.main(arguments, prog_name="anyseek", standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        say(*shown.getvalue().splitlines(), err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted", err=True)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of stdout is gone; do not report that either
        return 1
    except Exception as error:
        from anyseek.api.errors import domain_error, exit_code_of

        known = domain_error(error)
        code = exit_code_of(known)
        if code is None:
            raise
        say(f"anyseek: {known}", err=True)
        return code
    return result if isinstance(result, int) else 0
