"""What attributes may be: JSON that every database and every reader of the API can take."""

import json
from typing import Any

from indexer.errors import BadAttributes
from search.types import Attributes

MOST_BYTES = 65_536
DEEPEST = 32


def check_attributes(attributes: Attributes, name: str) -> None:
    """Raises `BadAttributes` for what is no JSON, too deep or too long; `name` is what errors call their holder."""
    if _depth_exceeds(attributes, DEEPEST):
        raise BadAttributes(f"the attributes of {name} are nested more than {DEEPEST} deep")
    try:
        length = len(json.dumps(attributes, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:  # a UnicodeEncodeError, for half a surrogate pair, is a ValueError
        raise BadAttributes(f"the attributes of {name} are no JSON of Unicode text and finite numbers") from error
    if length > MOST_BYTES:
        raise BadAttributes(f"the attributes of {name} have {length:,} bytes; at most {MOST_BYTES:,} are allowed")


def _depth_exceeds(value: Any, most: int) -> bool:
    """Goes no deeper than it has to, whatever the value's depth."""
    if not isinstance(value, dict | list):
        return False
    below = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_depth_exceeds(one, most - 1) for one in below)
