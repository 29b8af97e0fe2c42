"""Says of each unknown member of a JSON body which known one was probably meant.

Their names come from the JSON schema of the body, which has exactly the members that callers may send.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from anyseek.api.errors import MOST_PLACES
from anyseek.model.spelling import unknown

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # by a model, and by a dataclass
_REFERENCE = "#/$defs/"

Schema = Mapping[str, Any]


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The one adapter of a type, so that its schema is made once. `kind` is one of the few that routes take."""
    return TypeAdapter(kind)


def explained(errors: Sequence[Any], kind: TypeAdapter[Any], before: int = 0) -> list[Any]:
    """pydantic's `errors`, those about unknown members with a message that names the nearest known one.

    Only the first `MOST_PLACES` are, since no more are told. `kind` is kept: give the same one for the same type.
    `before` is how many steps of an error's place stand before the body's own members.
    """
    shown, others = errors[:MOST_PLACES], errors[MOST_PLACES:]
    if not any(error["type"] in _UNKNOWN for error in shown):
        return list(errors)
    schema = _schema(kind)
    return [*(_explained(error, schema, before) for error in shown), *others]


@cache
def _schema(kind: TypeAdapter[Any]) -> Schema:
    """Making one takes 20 ms; a batch may have a thousand queries with an unknown member."""
    return kind.json_schema()


def _explained(error: Any, schema: Schema, before: int) -> Any:
    if error["type"] not in _UNKNOWN:
        return error
    *place, name = error["loc"][before:]
    nodes = [schema]
    for step in place:
        nodes = [below for node in nodes for below in _below(schema, node, step)] or nodes
    known = dict.fromkeys(
        name for node in nodes for form in _forms(schema, node) for name in form.get("properties", ())
    )
    return error | {"msg": unknown("member", str(name), known)}


def _below(schema: Schema, node: Schema, step: str | int) -> Iterator[Schema]:
    """What a node says of one of its members or elements, in any of its forms."""
    for form in _forms(schema, node):
        if isinstance(step, int):
            subschema = form.get("items")
        else:
            subschema = form.get("properties", {}).get(step, form.get("additionalProperties"))
        if isinstance(subschema, Mapping):
            yield subschema


def _forms(schema: Schema, node: Schema) -> Iterator[Schema]:
    """The node itself, or those that it stands for."""
    if "$ref" in node:
        yield from _forms(schema, schema["$defs"][node["$ref"].removeprefix(_REFERENCE)])
        return
    for member in ("anyOf", "oneOf", "allOf"):
        for form in node.get(member, ()):
            yield from _forms(schema, form)
    yield node
