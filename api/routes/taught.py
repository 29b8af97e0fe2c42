"""Taught facets: attributes that a collection learns from a few labelled items, applied to all of them."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from anyseek.api.dependencies import WRITE_SLOT, JsonRoute, ServiceDependency, requires
from anyseek.api.http.security import Scope
from anyseek.api.schemas import FINGERPRINT, Answer, Body
from anyseek.api.service import Service
from anyseek.search.catalogue import collections, taught
from anyseek.search.catalogue.taught import Example, TaughtFacet
from anyseek.search.errors import BadInput
from anyseek.search.taught import teaching
from anyseek.search.taught.learning import Kind
from anyseek.search.types import TAUGHT

router = APIRouter(prefix="/v1/collections/{collection}/taught", tags=["taught facets"], route_class=JsonRoute)

# A request applies a facet for so long; the service goes on in the background.
_APPLY_SECONDS = 5.0
Count = Annotated[int, Query(ge=1, le=100, description="how many at most")]
LabelValue = StrictBool | StrictInt | StrictFloat | StrictStr


class ExampleBody(Body):
    key: str | None = Field(None, description="an item")
    caption: str | None = Field(None, min_length=1, max_length=1_000, description="or words that describe the class")
    label: LabelValue | None = Field(
        description="true or false, the name of a class, or a number; null removes the example"
    )


class TeachBody(Body):
    model_config = ConfigDict(
        json_schema_extra={"example": {"examples": [{"key": "a.jpg", "label": True}, {"key": "b.jpg", "label": False}]}}
    )
    examples: list[ExampleBody] = Field(max_length=teaching.MAX_EXAMPLES)
    anew: bool = Field(False, description="forget earlier examples")


class ExampleAnswer(Answer):
    key: str | None
    caption: str | None
    label: LabelValue


class HeldOutAnswer(Answer):
    """The error on examples that were held out."""

    measure: str = Field(examples=["accuracy"], description="accuracy, or mean absolute error")
    value: float
    low: float = Field(description="the lower end of the 95% interval")
    high: float
    examples: int = Field(description="how many were held out")


class TaughtAnswer(Answer):
    """An attribute that was learned from examples."""

    name: str = Field(examples=["cosy"])
    attribute: str = Field(examples=["taught.cosy.value"], description="its path in filters")
    kind: Kind
    examples: list[ExampleAnswer]
    space: str = Field(description="whose vectors it was learned from")
    fingerprint: str = Field(examples=[FINGERPRINT], description="that of the space at the time")
    method: str = Field(examples=["logistic regression"])
    held_out: HeldOutAnswer | None = Field(description="null where the examples do not suffice to know")
    made_at: datetime
    applied: bool = Field(description="whether all items have their values; until then the service goes on")

    @classmethod
    def of(cls, facet: TaughtFacet) -> "TaughtAnswer":
        members = {name: getattr(facet, name) for name in cls.model_fields if hasattr(facet, name)}
        return cls.read({**members, "attribute": f"{TAUGHT}.{facet.name}.value", "applied": facet.applied_id is None})


class TaughtFacetsAnswer(BaseModel):
    facets: list[TaughtAnswer]


class SuggestionsAnswer(BaseModel):
    keys: list[str] = Field(description="the items to label, the most helpful first")


class ReasonAnswer(Answer):
    """Why an item has its value."""

    value: LabelValue
    certainty: float | None = Field(description="the probability of the value, or of yes; null of numbers")
    like: Sequence[str] = Field(description="the keys of the nearest examples with this value, at most three")


@router.get("", dependencies=[requires(Scope.READ)])
def list_taught_facets(collection: str, service: ServiceDependency) -> TaughtFacetsAnswer:
    """List the taught facets of a collection, by name."""
    with service.runtime.database.read() as session:
        facets = taught.list_all(session, collections.get(session, collection).id)
    return TaughtFacetsAnswer(facets=[TaughtAnswer.of(facet) for facet in facets if not facet.is_forgotten])


@router.post("/{name}", dependencies=[requires(Scope.WRITE), WRITE_SLOT])
def teach_facet(collection: str, name: str, body: TeachBody, service: ServiceDependency) -> TaughtAnswer:
    """Learn an attribute from examples, added to the earlier ones, and give all items their values.

    Labels are all true or false, or all names, or all numbers. Without new examples it is learned anew.
    """
    changes = [_change(example) for example in body.examples]
    runtime = service.runtime
    teaching.teach(
        runtime.database, collection, name, changes, lambda: service.engine_for(collection).embedder, body.anew
    )
    teaching.apply(runtime.database, collection, name, _seconds(service))
    with runtime.database.read() as session:
        return TaughtAnswer.of(taught.get(session, collections.get(session, collection), name))


@router.get("/{name}/suggestions", dependencies=[requires(Scope.READ)])
def suggest_examples(
    collection: str, name: str, service: ServiceDependency, count: Count = teaching.SUGGESTIONS
) -> SuggestionsAnswer:
    """Get the items whose labels would help most: doubtful ones that differ from each other."""
    with service.runtime.database.read() as session:
        return SuggestionsAnswer(keys=teaching.suggest(session, collection, name, count))


@router.get("/{name}/reasons/{key:key}", dependencies=[requires(Scope.READ)])
def explain_value(collection: str, name: str, key: str, service: ServiceDependency) -> ReasonAnswer:
    """Get the examples that an item is like, which is why it has its value."""
    with service.runtime.database.read() as session:
        return ReasonAnswer.read(teaching.explain(session, collection, name, key))


@router.delete("/{name}", status_code=204, dependencies=[requires(Scope.WRITE), WRITE_SLOT])
def forget_facet(collection: str, name: str, service: ServiceDependency) -> Response:
    """Forget a taught facet, its examples and its values."""
    teaching.forget(service.runtime.database, collection, name, _seconds(service))
    return Response(status_code=204)


def _change(body: ExampleBody) -> tuple[Example, bool]:
    if (body.key is None) == (body.caption is None):
        raise BadInput("an example has either the key of an item or a caption, and a label")
    return Example(False if body.label is None else body.label, body.key, body.caption), body.label is None


def _seconds(service: Service) -> float:
    """How long a request may apply a facet; in this process nobody would go on."""
    return math.inf if service.settings.in_process else _APPLY_SECONDS
