"""The fields of multipart forms: settings by their names, and contents, which are named by modality."""

from collections.abc import Collection, Sequence

from api.contents import Upload, weight_of_field
from model.modalities.reading.errors import UnknownModality
from model.modalities.registry import MODALITIES, resolve
from model.spelling import unknown
from search.errors import BadInput


def divided(
    uploads: Sequence[Upload], settings: Collection[str], others: Collection[str] = ()
) -> tuple[dict[str, str], list[Upload]]:
    """The texts of fields named in `settings`, and all other fields, which are modalities or `others`.

    Raises `BadInput` for a setting that is given twice or is no text, `UnknownModality` for an unknown field.
    """
    found: dict[str, str] = {}
    contents = []
    for upload in uploads:
        if upload.field not in settings:
            _check_known(upload.field, settings, others)
            contents.append(upload)
        elif upload.field in found:
            raise BadInput(f"the form has the field {upload.field} twice; send it once")
        else:
            found[upload.field] = text_of(upload)
    return found, contents


def text_of(upload: Upload) -> str:
    """The text of a field. Raises `BadInput`."""
    try:
        return upload.content if isinstance(upload.content, str) else upload.content.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"the field {upload.field} is not UTF-8 text") from error


def _check_known(field: str, settings: Collection[str], others: Collection[str]) -> None:
    name, _ = weight_of_field(field)
    if name in others:
        return
    try:
        resolve(name)
    except KeyError as error:
        raise UnknownModality(unknown("field", name, [*settings, *others, *MODALITIES])) from error
