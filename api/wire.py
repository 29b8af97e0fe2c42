"""The building blocks of the service's JSON, for both sides. Imports nothing heavy, so that a client starts at once.

A wire type is a frozen dataclass: clients build and read it by hand, the service validates and writes it by pydantic.
"""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anyseek.model.modalities.reading.encoded import read_file
from anyseek.model.modalities.reading.errors import BadText
from anyseek.model.modalities.registry import Content, resolve
from anyseek.search.errors import BadQuery
from anyseek.search.settings import Limits

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
    return encode(value) if isinstance(value, bytes) else value


def encode(data: bytes) -> str:
    """Bytes as base64 text."""
    return base64.b64encode(data).decode("ascii")


def to_json(members: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """The members of a query's part or a prediction's input as JSON: `file` read, bytes as base64, no nulls.

    Bytes of a text or a palette are sent as the text. Raises `BadQuery`, `InputError`, `TooManyBytes`, `BadText`.
    """
    said = {name: value for name, value in members.items() if name != "file" and value is not None}
    file = members.get("file")
    if file is not None:
        if "data" in said:
            raise BadQuery(f"a part has the file {file} and data; give exactly one")
        said = {"name": str(file)} | said | {"data": read_file(Path(file), limits, str(file))}
    if isinstance(said.get("mask"), bytes):
        said["mask"] = encode(said["mask"])
    data = said.get("data")
    if not isinstance(data, bytes):
        return said
    if _is_written(said.get("modality")):
        del said["data"]
        return said | {"text": _utf8(data, said.get("name", "the text"))}
    return said | {"data": encode(data)}


def _is_written(modality: str | None) -> bool:
    """Whether a modality is sent as a text rather than a file; false for one that only the service knows."""
    try:
        return resolve(modality or "caption").content in (Content.TEXT, Content.PALETTE)
    except KeyError:
        return False


def _utf8(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadText(f"{name} is not UTF-8 text (byte {error.start})") from error
