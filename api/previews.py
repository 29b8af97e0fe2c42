"""What a depth map, a segmentation or boxes look like to people: a coloured picture of what a browser cannot show."""

from typing import cast

from pydantic import Field

from api.parts import sent_data, value_of
from api.schemas import Body
from indexer.decode import decode, known_modality, parse_classes
from model.drawing import ByteArray
from model.modality import Content
from model.prediction import Prediction
from model.rendering.files import PREVIEW, files_of
from search.errors import BadInput
from search.settings import Limits

_SHOWN = {Content.DEPTH, Content.REGIONS, Content.BOXES, Content.POSES, Content.PALETTE, Content.FEATURES}


class PreviewBody(Body):
    """A value as in a part of a query, and the picture that boxes and poses are drawn on."""

    modality: str = Field(examples=["depth"])
    data: str = Field(description="the file's bytes as base64; for a palette the value itself")
    name: str | None = Field(None, max_length=4096, description="what errors call it, such as the file's name")
    classes: dict[str, str] | None = Field(None, description='names of the ids of a segmentation map: {"0": "sky"}')
    picture: str | None = Field(None, description="bytes of a picture as base64; grey without it")


def render_preview(body: PreviewBody, limits: Limits) -> bytes:
    """A PNG with its legend. Raises `BadInput`, and `BadQuery` for what is not base64."""
    kind = known_modality(body.modality)
    name = body.name or f"the {kind.name}"
    if kind.content not in _SHOWN:
        raise BadInput(f"{name} has no preview: {kind.name} is {kind.describes}")
    classes = parse_classes(body.classes, name) if body.classes else None
    value = value_of(kind.name, sent_data(body.data, kind.content, name), limits, name, classes)
    files = files_of(Prediction(kind.name, value), _picture(body, limits))
    return next(file.data for file in files if file.name == f"{kind.name}.{PREVIEW}.png")


def _picture(body: PreviewBody, limits: Limits) -> ByteArray | None:
    if body.picture is None:
        return None
    name = "the picture of the preview"
    return cast(ByteArray, decode("rgb", cast(bytes, sent_data(body.picture, Content.PICTURE, name)), limits, name))
