"""Suggests the nearest known member for each unknown member of a JSON body.

The known names come from the JSON schema of the body, which has exactly the members that callers may send.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from anyseek.api.errors import MAX_ERRORS_SHOWN
from anyseek.model.spelling import unknown

_UNKNOWN_MEMBER_TYPES = ("extra_forbidden", "unexpected_keyword_argument")  # by a model, and by a dataclass
_REFERENCE = "#/$defs/"

Schema = Mapping[str, Any]


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The cached adapter of a request type, so that its schema is made once."""
    return TypeAdapter(kind)


def add_suggestions(errors: Sequence[Any], kind: TypeAdapter[Any], prefix: int = 0) -> list[Any]:
    """pydantic's `errors`, where each unknown member has a message that suggests the nearest known one.

    Only the first `MAX_ERRORS_SHOWN` get one, since no more are sent. The schema of `kind` is cached by identity.
    `prefix` is the number of leading steps of an error's location that are not members of the body, such as "body".
    """
    shown, others = errors[:MAX_ERRORS_SHOWN], errors[MAX_ERRORS_SHOWN:]
    if not any(error["type"] in _UNKNOWN_MEMBER_TYPES for error in shown):
        return list(errors)
    schema = _schema(kind)
    return [*(_add_suggestion(error, schema, prefix) for error in shown), *others]


@cache
def _schema(kind: TypeAdapter[Any]) -> Schema:
    """The JSON schema of a type. It takes 20 ms, and a batch may have a thousand queries with an unknown member."""
    return kind.json_schema()


def _add_suggestion(error: Any, schema: Schema, prefix: int) -> Any:
    if error["type"] not in _UNKNOWN_MEMBER_TYPES:
        return error
    *location, name = error["loc"][prefix:]
    nodes = [schema]
    for step in location:
        nodes = [child for node in nodes for child in _subschemas(schema, node, step)] or nodes
    known = dict.fromkeys(
        name for node in nodes for form in _alternatives(schema, node) for name in form.get("properties", ())
    )
    return error | {"msg": unknown("member", str(name), known)}


def _subschemas(schema: Schema, node: Schema, step: str | int) -> Iterator[Schema]:
    """The schemas of a node's member or element `step`, in each alternative of the node."""
    for form in _alternatives(schema, node):
        if isinstance(step, int):
            subschema = form.get("items")
        else:
            subschema = form.get("properties", {}).get(step, form.get("additionalProperties"))
        if isinstance(subschema, Mapping):
            yield subschema


def _alternatives(schema: Schema, node: Schema) -> Iterator[Schema]:
    """The alternatives of a node: its reference and its unions resolved."""
    if "$ref" in node:
        yield from _alternatives(schema, schema["$defs"][node["$ref"].removeprefix(_REFERENCE)])
        return
    for member in ("anyOf", "oneOf", "allOf"):
        for form in node.get(member, ()):
            yield from _alternatives(schema, form)
    yield node
