"""Who made what the demo shows, and under which licences it may be used."""

from pathlib import Path

from model.galleries.openmoji import ATTRIBUTION
from model.galleries.views import CREDITS, FOLDER

_EMOJIBASE_LICENCE = Path(__file__).with_name("LICENSE.emojibase-data.txt")
_CC_BY_SA = "https://creativecommons.org/licenses/by-sa/4.0/"


def credits_text() -> str:
    """The credits of both demo collections as plain text."""
    return "\n".join(
        (
            "The collection openmoji\n",
            f"{ATTRIBUTION}\nCC BY-SA 4.0: {_CC_BY_SA}\n\nThe licence of emojibase-data:\n",
            _EMOJIBASE_LICENCE.read_text("utf-8"),
            "\nThe collection rooms\n",
            (FOLDER / CREDITS).read_text("utf-8"),
        )
    )
