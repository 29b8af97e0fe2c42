"""The JSON of a batch of queries, whose answers may be errors and whose hits are brief."""

from typing import Any

from pydantic import BaseModel, Field

from api.queries.wire import EXAMPLES
from api.schemas import Body
from model.seam import Fusion
from search.types import GroupValue, Results


class BatchBody(Body):
    """Many queries for one model pass. A wrong query gets an error in its place and does not affect the others."""

    queries: list[Any] = Field(description="queries as for `/query`", examples=[EXAMPLES[:2]])


class BriefHit(BaseModel):
    key: str
    score: float
    rank: int
    group: GroupValue | None = Field(default=None, exclude_if=lambda group: group is None)


class BatchEntry(BaseModel):
    """Hits with their space and fusion, or the error of the query."""

    hits: list[BriefHit] | None = None
    space: str | None = None
    fusion: Fusion | None = None
    note: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, outcome: Results | Exception) -> "BatchEntry":
        if isinstance(outcome, Exception):
            return cls(error=str(outcome))
        hits = [BriefHit(key=hit.item.key, score=hit.score, rank=hit.rank, group=hit.group) for hit in outcome.hits]
        return cls(hits=hits, space=outcome.space, fusion=outcome.fusion, note=outcome.note)


class BatchAnswer(BaseModel):
    results: list[BatchEntry]
