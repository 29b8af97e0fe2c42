"""Dataclasses as JSON: pydantic's configuration for requests and responses, and fields with another type in JSON.

Records are frozen dataclasses, so a client that only builds them need not import pydantic.
"""

import ast
import base64
import inspect
import textwrap
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

# pydantic's configuration for requests: unknown members are refused, and instances are validated like JSON.
STRICT: dict[str, Any] = {
    "extra": "forbid",
    "revalidate_instances": "always",
    "allow_inf_nan": False,
    "use_attribute_docstrings": True,
}
# The same for responses.
ANSWER: dict[str, Any] = {"use_attribute_docstrings": True}


class JsonType:
    """Annotation for a field whose type in JSON differs from its type in Python, with pydantic's bounds.

    Bytes and paths, which JSON cannot represent, pass validation; bytes are written as base64. A field of kind None is
    refused in JSON and left out of the schema.
    """

    def __init__(self, kind: Any, **bounds: int) -> None:
        self.kind = kind
        self.bounds = bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        validated = handler.generate_schema(self.kind) | self.bounds
        if self.kind is None:  # as for any unknown member
            validated = core_schema.custom_error_schema(validated, custom_error_type="extra_forbidden")
        return core_schema.json_or_python_schema(
            json_schema=validated,
            python_schema=core_schema.no_info_wrap_validator_function(_validate_unless_binary, validated),
            serialization=core_schema.plain_serializer_function_ser_schema(_to_json, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        from pydantic_core import PydanticOmit

        if self.kind is None:
            raise PydanticOmit
        return handler(schema)


def _validate_unless_binary(value: Any, check: Callable[[Any], Any]) -> Any:
    return value if isinstance(value, bytes | Path) else check(value)


def _to_json(value: Any) -> Any:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def descriptions(kind: type[Any]) -> dict[str, str]:
    """The docstrings of a dataclass's fields, by field name, as in pydantic's schema."""
    (record,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(record, ast.ClassDef)
    return {
        member.target.id: inspect.cleandoc(str(text.value.value))
        for member, text in pairwise(record.body)
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
