"""Items and facets as text on a terminal."""

import json
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

_SHOWN_VALUES = 10


def printable(text: str) -> str:
    """`text` without what could move the cursor or colour the terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign)[0] == "C" else sign for sign in text)


def json_line(answer: "BaseModel") -> str:
    """An answer of the service as one line of JSON."""
    return json.dumps(answer.model_dump(mode="json"))


def facet_line(facet: Mapping[str, Any]) -> str:
    """`label (9 items): cat 5, dog 4, … 12 more; 3 to 8` for a facet by its members."""
    texts = [f"{printable(_written(each['value']))} {each['items']:,}" for each in facet["values"][:_SHOWN_VALUES]]
    further = max(facet["distinct"], len(facet["values"])) - len(texts)
    if further > 0:
        texts.append(f"\N{HORIZONTAL ELLIPSIS} {further:,} more")
    bounds = [(facet["least"], facet["most"]), (facet["first"], facet["last"])]
    ranges = [f"{low} to {high}" for low, high in bounds if low is not None]
    counts = "; ".join([", ".join(texts), *ranges] if texts else ranges)
    head = f"{printable(facet['field'])} ({facet['items']:,} items)"
    return f"{head}: {counts}" if counts else head


def _written(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()
