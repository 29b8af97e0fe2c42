"""The JSON of queries and answers for clients. Imports nothing heavy, so that a client starts at once."""

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyseek.model.modalities.reading.errors import BadText
from anyseek.model.modalities.registry import Content, resolve
from anyseek.search.answers.results import Refusal, Results
from anyseek.search.errors import BadQuery
from anyseek.search.query.query import Part, Query
from anyseek.search.settings import Limits

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def query_json(query: str | Query | Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """The JSON of a query, its members or its words; files are read.

    Raises `BadQuery`, `InputError`, `TooManyBytes`.
    """
    if isinstance(query, str):
        query = {"parts": query}
    if not isinstance(query, Query | Mapping):
        raise BadQuery(f"a query must be words, a Query or its members, not {type(query).__name__}")
    members = dict(vars(query) if isinstance(query, Query) else query)
    parts = members.get("parts")
    part_list = [parts] if isinstance(parts, str | Part | Mapping) else parts
    if not isinstance(part_list, list | tuple):
        return members
    return members | {"parts": [_part_json(part, limits) for part in part_list]}


def _part_json(part: Any, limits: Limits) -> Any:
    if isinstance(part, str):
        return {"modality": "caption", "text": part}
    members = vars(part) if isinstance(part, Part) else part
    return to_json(members, limits) if isinstance(members, Mapping) else part


def to_json(members: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """The JSON of a query's part or a prediction's input: `file` read, bytes as base64, no nulls.

    Bytes of a text or a palette are sent as the text. Raises `BadQuery`, `InputError`, `TooManyBytes`, `BadText`.
    """
    said = {name: value for name, value in members.items() if name != "file" and value is not None}
    file = members.get("file")
    if file is not None:
        if "data" in said:
            raise BadQuery(f"a part has the file {file} and data; give exactly one")
        from anyseek.model.modalities.reading.encoded import read_file  # which imports numpy

        said = {"name": str(file)} | said | {"data": read_file(Path(file), limits, str(file))}
    if isinstance(said.get("mask"), bytes):
        said["mask"] = base64.b64encode(said["mask"]).decode("ascii")
    if hasattr(said.get("vector"), "tolist"):
        said["vector"] = said["vector"].tolist()
    data = said.get("data")
    if not isinstance(data, bytes):
        return said
    if _is_text(said.get("modality")):
        del said["data"]
        return said | {"text": _utf8(data, said.get("name", "the text"))}
    return said | {"data": base64.b64encode(data).decode("ascii")}


def _is_text(modality: str | None) -> bool:
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


@cache
def _results_adapter() -> "TypeAdapter[Results]":
    from pydantic import TypeAdapter  # imported with the first answer

    return TypeAdapter(Results)


def results_of(members: Mapping[str, Any]) -> Results:
    """Results from the JSON of one answer; members that this client does not know are ignored."""
    return _results_adapter().validate_python(members)


def batch_of(answers: Sequence[Mapping[str, Any]]) -> list[Results | Refusal]:
    """Results or refusals from the JSON of a batch's answers, in order."""
    return [Refusal(answer["error"]) if answer.get("error") else results_of(answer) for answer in answers]
