"""Dataclasses as JSON: pydantic's configuration of what callers send and get, and types that differ in JSON.

Records are frozen dataclasses that pydantic checks and describes, so that a client that only builds them need not
import it.
"""

import ast
import base64
import inspect
import textwrap
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

# pydantic's configuration of what callers send: unknown members are refused, and instances are checked like JSON.
STRICT: dict[str, Any] = {
    "extra": "forbid",
    "revalidate_instances": "always",
    "allow_inf_nan": False,
    "use_attribute_docstrings": True,
}
# The same for what the service answers, which it has made itself.
ANSWER: dict[str, Any] = {"use_attribute_docstrings": True}


class JsonType:
    """Gives a field its type in JSON, with bounds for pydantic, if that differs from its type in Python.

    pydantic lets bytes and paths pass, which JSON cannot hold, and writes bytes as base64. A field without a type in
    JSON is not sent at all.
    """

    def __init__(self, kind: Any, **bounds: int) -> None:
        self.kind = kind
        self.bounds = bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        checked = handler.generate_schema(self.kind) | self.bounds
        if self.kind is None:  # as for any unknown member
            checked = core_schema.custom_error_schema(checked, custom_error_type="extra_forbidden")
        return core_schema.json_or_python_schema(
            json_schema=checked,
            python_schema=core_schema.no_info_wrap_validator_function(_let_pass, checked),
            serialization=core_schema.plain_serializer_function_ser_schema(_written, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        from pydantic_core import PydanticOmit

        if self.kind is None:
            raise PydanticOmit
        return handler(schema)


def _let_pass(value: Any, check: Callable[[Any], Any]) -> Any:
    return value if isinstance(value, bytes | Path) else check(value)


def _written(value: Any) -> Any:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def descriptions(kind: type[Any]) -> dict[str, str]:
    """The docstrings below the fields of a dataclass, by field; pydantic's schema has the same."""
    (record,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(record, ast.ClassDef)
    return {
        member.target.id: inspect.cleandoc(str(text.value.value))
        for member, text in pairwise(record.body)
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
