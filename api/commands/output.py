"""What commands print: texts that cannot steer a terminal, whatever the names in them hold, and paths as they are."""

import os
import sys
import unicodedata

import click


def printable(text: str) -> str:
    """`text` on one line, without what could move the cursor or colour the terminal: such characters become escapes."""
    if text.isprintable():
        return text
    return "".join(ascii(sign)[1:-1] if unicodedata.category(sign)[0] == "C" else sign for sign in text)


def say(*lines: str, err: bool = False) -> None:
    """Print lines on stdout, or on stderr."""
    for line in lines:
        click.echo(printable(line), err=err)


def say_over(line: str) -> None:
    """Print a line on stderr, which must be a terminal, in place of the one before."""
    click.echo(f"\r\033[K{printable(line)}", nl=False, err=True)


def write_path(path: str, null: bool) -> None:
    """Print a path on a line, or with `null` ended by NUL: byte by byte for other programs, escaped on a terminal."""
    shown = os.fsencode(printable(path) if sys.stdout.isatty() else path)
    click.echo(shown + (b"\0" if null else b"\n"), nl=False)
