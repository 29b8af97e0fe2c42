"""Texts of items on a terminal."""

import unicodedata


def printable(text: str) -> str:
    """`text` without what could move the cursor or colour the terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign)[0] == "C" else sign for sign in text)
