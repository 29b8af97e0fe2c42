"""The parameters of a simple query in a URL."""

from typing import Annotated

from fastapi import Query as Parameter
from pydantic import FiniteFloat

from anyseek.api.queries import wire
from anyseek.search.answers.explanation import MOST_EXPLAINED

Texts = Annotated[
    list[str],
    Parameter(description="what it shows, in words; may come several times", examples=[["a red bicycle"]]),
]
Items = Annotated[list[str], Parameter(description="keys of items: more like these; may come several times")]
Palettes = Annotated[list[str], Parameter(description="one to seven colours: #c03020,#ffffff; may come several times")]
Words = Annotated[list[str], Parameter(description="words to find in keys, captions and attributes themselves")]
Hits = Annotated[int, Parameter(ge=1, le=wire.MOST_HITS, description="how many hits")]
Offset = Annotated[int, Parameter(ge=0, lt=wire.MOST_HITS, description="how many of the best hits to leave out")]
Space = Annotated[str | None, Parameter(description="the space to search; by default the model chooses")]
Where = Annotated[str | None, Parameter(description="which items may be hits", examples=["width >= 1000"])]
Fusion = Annotated[wire.Fusion | None, Parameter(description="how several parts become one")]
Least = Annotated[FiniteFloat | None, Parameter(ge=-1, le=1, description="leave out hits whose score is lower")]
Likely = Annotated[
    FiniteFloat | None, Parameter(ge=0, le=1, description="leave out hits that are less probable than this")
]
Vectors = Annotated[bool, Parameter(description="give the items' vectors in the space that was searched")]
GroupBy = Annotated[
    str | None, Parameter(description="an attribute: `k` and `offset` count its values; others are left out")
]
Explain = Annotated[int, Parameter(ge=0, le=MOST_EXPLAINED, description="how many of the hits to explain")]
ExplainKeys = Annotated[list[str], Parameter(description="an item to explain, hit or not; may come several times")]
GroupSize = Annotated[int, Parameter(ge=1, le=wire.MOST_HITS, description="how many hits of each group")]

Facets = Annotated[list[str], Parameter(description="attributes whose values to count; may come several times")]

Spaces = Annotated[list[str], Parameter(description="ask in each of these spaces; may come several times")]
Cursor = Annotated[str | None, Parameter(description="the `next` of an answer to this query")]


def query_of_url(
    text: Texts = [],  # noqa: B006  FastAPI copies it
    item: Items = [],  # noqa: B006
    palette: Palettes = [],  # noqa: B006
    words: Words = [],  # noqa: B006
    k: Hits = wire.DEFAULT_HITS,
    offset: Offset = 0,
    space: Space = None,
    where: Where = None,
    fusion: Fusion = None,
    min_score: Least = None,
    vectors: Vectors = False,
    group_by: GroupBy = None,
    group_size: GroupSize = 1,
    facets: Facets = [],  # noqa: B006
    spaces: Spaces = [],  # noqa: B006
    cursor: Cursor = None,
    explain: Explain = 0,
    explain_keys: ExplainKeys = [],  # noqa: B006
    min_probability: Likely = None,
) -> wire.Query:
    """A query whose parts are all of weight 1."""
    return wire.Query(
        _parts(text, item, palette, words),
        k,
        space,
        where,
        fusion,
        offset,
        min_score,
        vectors,
        group_by,
        group_size,
        facets=facets,
        spaces=spaces,
        cursor=cursor,
        explain=explain,
        explain_keys=explain_keys,
        min_probability=min_probability,
    )


def _parts(texts: list[str], items: list[str], palettes: list[str], words: list[str]) -> list[wire.Part]:
    return [
        *(wire.Part("caption", text=text) for text in texts),
        *(wire.Part(item=key) for key in items),
        *(wire.Part("color_palette", text=colours) for colours in palettes),
        *(wire.Part(wire.WORDS, text=wanted) for wanted in words),
    ]
