"""Reads queries from requests: JSON, multipart forms and URLs."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import Parameter, Signature
from typing import Annotated, Any, TypeVar, get_type_hints

from fastapi import Query as UrlParameter
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from anyseek.api.contents import Upload, json_of_field
from anyseek.api.dependencies import get_service, is_form, read_form, read_json
from anyseek.api.http.did_you_mean import explained
from anyseek.api.queries.answering import QUERY, attached
from anyseek.search.errors import BadInput, BadQuery
from anyseek.search.query.query import WORDS, Part, Query
from anyseek.search.settings import Limits

Q = TypeVar("Q", bound=Query)


async def query_of_request(request: Request, kind: TypeAdapter[Q]) -> Q:
    """The checked query in the body of a request: JSON, or a form with the field `query` and the files of its parts.

    Raises `RequestValidationError`, `BadInput`, and `BadQuery` for files that were not sent or that no part names.
    """
    if not is_form(request):
        return attached(await read_json(request, kind), {})
    service, uploads = get_service(request), await read_form(request)
    return await service.run(query_of_form, uploads, kind, service.limits)


def query_of_form(uploads: Sequence[Upload], kind: TypeAdapter[Q], limits: Limits) -> Q:
    """The checked query of a form. Raises as `query_of_request` does."""
    by_field = {upload.field: upload for upload in uploads}
    if len(by_field) < len(uploads):
        raise BadInput("the form has a field twice; give each file a field of its own")
    written = by_field.pop("query", None)
    if written is None or not isinstance(written.content, str):
        raise BadInput('the form needs a field query, such as {"parts": [{"modality": "rgb", "file": "a"}]}')
    members = json_of_field(written.content, "query", limits)
    try:
        query = kind.validate_python(members)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError(explained(wrong, kind)) from error
    unnamed = by_field.keys() - {part.file for part in query.parts}
    if unnamed:
        raise BadQuery(f"the form has the field {min(unnamed)}, which no part of its query names as its file")
    return attached(query, by_field)


_SHORT: dict[str, tuple[str, Callable[[str], Part]]] = {
    "text": ("what it shows, in words; may come several times", lambda text: Part("caption", text=text)),
    "item": ("keys of items: more like these; may come several times", lambda key: Part(item=key)),
    "palette": (
        "one to seven colours: #c03020,#ffffff; may come several times",
        lambda colours: Part("color_palette", text=colours),
    ),
    "words": (
        "words to find in keys, captions and attributes themselves",
        lambda words: Part(WORDS, text=words),
    ),
}


def _url_parameters() -> dict[str, Any]:
    """The parameters of a query in a URL: short ones for parts, and all other members of a `Query`."""
    described = QUERY.json_schema()["properties"]
    found: dict[str, Any] = {
        name: (Annotated[list[str], UrlParameter(description=says)], []) for name, (says, _) in _SHORT.items()
    }
    hints = get_type_hints(Query, include_extras=True) | {"where": str | None}
    for member in fields(Query):
        if member.name != "parts":
            says = UrlParameter(description=described[member.name].get("description"))
            default = list(member.default) if isinstance(member.default, tuple) else member.default
            found[member.name] = (Annotated[hints[member.name], says], default)
    return found


def query_of_url(**given: Any) -> Query:
    """The query in the parameters of a URL, which FastAPI has checked; its parts are all of weight 1."""
    parts = [make(value) for name, (_, make) in _SHORT.items() for value in given.pop(name)]
    return Query(parts, **given)


query_of_url.__signature__ = Signature(  # type: ignore[attr-defined]
    [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        for name, (hint, default) in _url_parameters().items()
    ]
)
