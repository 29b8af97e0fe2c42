"""The fields of multipart forms: settings by name, and contents, which are named by modality."""

import json
from collections.abc import Collection, Sequence

from anyseek.api.contents import Upload, split_weight
from anyseek.model.modalities.reading.errors import UnknownModality
from anyseek.model.modalities.registry import MODALITIES, resolve
from anyseek.model.spelling import unknown
from anyseek.search.errors import BadInput, BadQuery


def split_fields(
    uploads: Sequence[Upload], settings: Collection[str], extra_fields: Collection[str] = ()
) -> tuple[dict[str, str], list[Upload]]:
    """The texts of fields named in `settings`, and all other fields, which are modalities or `extra_fields`.

    Raises `BadInput` for a setting that is given twice or is no text, `UnknownModality` for an unknown field.
    """
    values: dict[str, str] = {}
    contents = []
    for upload in uploads:
        if upload.field not in settings:
            _check_known(upload.field, settings, extra_fields)
            contents.append(upload)
        elif upload.field in values:
            raise BadInput(f"the form has the field {upload.field} twice; send it once")
        else:
            values[upload.field] = field_text(upload)
    return values, contents


def field_text(upload: Upload) -> str:
    """The text of a field. Raises `BadInput`."""
    try:
        return upload.content if isinstance(upload.content, str) else upload.content.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"the field {upload.field} is not UTF-8 text") from error


def _check_known(field: str, settings: Collection[str], extra_fields: Collection[str]) -> None:
    name, _ = split_weight(field)
    if name in extra_fields:
        return
    try:
        resolve(name)
    except KeyError as error:
        raise UnknownModality(unknown("field", name, [*settings, *extra_fields, *MODALITIES])) from error


def parse_bool(name: str, text: str) -> bool:
    """The boolean value of a field. Raises `BadQuery` unless it is true or false."""
    if text not in ("true", "false"):
        raise BadQuery(f"{name} must be true or false, not {text[:20]!r}")
    return text == "true"


def parse_numbers(upload: Upload) -> list[float]:
    """The numbers of a field, a JSON list. Raises `BadInput`, `BadQuery`."""
    try:
        values = json.loads(field_text(upload))
    except (ValueError, RecursionError) as error:
        raise BadQuery(f"the field {upload.field} is not JSON; send a list of numbers") from error
    if not isinstance(values, list) or not all(type(each) in (int, float) for each in values):
        raise BadQuery(f"the field {upload.field} is not a list of numbers, such as [0.1, -0.2]")
    try:
        return [float(each) for each in values]
    except OverflowError as error:
        raise BadQuery(f"the field {upload.field} has a number that is too large") from error
