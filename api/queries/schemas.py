"""The JSON of a batch of queries, whose answers may be errors and whose hits are brief."""

from typing import Any

from pydantic import BaseModel, Field

from anyseek.api.queries.wire import EXAMPLES, Fusion, Refusal, Results
from anyseek.api.schemas import Body


class BatchBody(Body):
    """Many queries for one model pass. A wrong query gets an error in its place and does not affect the others."""

    queries: list[Any] = Field(description="queries as for `/query`", examples=[EXAMPLES[:2]])


class BriefHit(BaseModel):
    key: str
    score: float
    rank: int
    group: str | int | float | bool | None = Field(default=None, exclude_if=lambda group: group is None)
    probability: float | None = Field(default=None, exclude_if=lambda probability: probability is None)


class BatchEntry(BaseModel):
    """Hits with their space and fusion, or the error of the query."""

    hits: list[BriefHit] | None = None
    space: str | None = None
    fusion: Fusion | None = None
    note: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, outcome: Results | Refusal) -> "BatchEntry":
        if isinstance(outcome, Refusal):
            return cls(error=outcome.error)
        hits = [
            BriefHit(key=hit.key, score=hit.score, rank=hit.rank, group=hit.group, probability=hit.probability)
            for hit in outcome.hits
        ]
        return cls(hits=hits, space=outcome.space, fusion=outcome.fusion, note=outcome.note)


class BatchAnswer(BaseModel):
    results: list[BatchEntry]
