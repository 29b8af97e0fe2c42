"""Captions: free text. The vocabulary lowercases it, so a caption comes back in lower case and spaced by tokens."""

from model.formats.bins import SPECIAL_TOKEN


def caption_to_text(caption: str) -> str:
    """The caption itself; sentinels in it keep their meaning."""
    return caption


def caption_from_text(text: str) -> str:
    """The text without special tokens, one space between words."""
    return " ".join(SPECIAL_TOKEN.sub(" ", text).split())
