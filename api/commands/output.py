"""Output of commands: text without terminal control characters, and paths byte by byte."""

import os
import sys
import unicodedata

import click


def printable(text: str) -> str:
    """`text` on one line, with control and format characters escaped, so that no name in it can steer the terminal."""
    if text.isprintable():
        return text
    return "".join(ascii(char)[1:-1] if unicodedata.category(char)[0] == "C" else char for char in text)


def say(*lines: str, err: bool = False) -> None:
    """Print lines on stdout, or on stderr."""
    for line in lines:
        click.echo(printable(line), err=err)


def say_over(line: str) -> None:
    """Replace the current line of stderr, which must be a terminal."""
    click.echo(f"\r\033[K{printable(line)}", nl=False, err=True)


def write_path(path: str, null: bool) -> None:
    """Print a path, ended by a newline or with `null` by NUL: raw bytes for other programs, escaped on a terminal."""
    shown = os.fsencode(printable(path) if sys.stdout.isatty() else path)
    click.echo(shown + (b"\0" if null else b"\n"), nl=False)
