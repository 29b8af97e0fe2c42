"""Previews: coloured pictures of values that a browser cannot show, such as depth maps, segmentations and boxes."""

from typing import cast

from fastapi import APIRouter, Response
from pydantic import Field

from anyseek.api.contents import sent_data, value_of
from anyseek.api.dependencies import JsonRoute, ServiceDependency, requires
from anyseek.api.http.security import Scope
from anyseek.api.schemas import Body
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.decode import decode, known_modality
from anyseek.model.modalities.reading.documents import parse_classes
from anyseek.model.modalities.registry import Content
from anyseek.model.modalities.rendering.files import PREVIEW, png
from anyseek.model.modalities.rendering.previews import depth_relief
from anyseek.model.modalities.values import files_of
from anyseek.model.seam import FloatArray, Prediction
from anyseek.search.errors import BadInput
from anyseek.search.settings import Limits

router = APIRouter(prefix="/v1/previews", tags=["previews"], dependencies=[requires(Scope.READ)], route_class=JsonRoute)

_SHOWN = {Content.DEPTH, Content.REGIONS, Content.BOXES, Content.POSES, Content.PALETTE, Content.FEATURES}


class PreviewBody(Body):
    """A value as in a part of a query, and the picture on which boxes and poses are drawn."""

    modality: str = Field(examples=["depth"])
    data: str = Field(description="the file's bytes as base64; for a palette the value itself")
    name: str | None = Field(None, max_length=4096, description="the name that errors give it, such as the file's name")
    classes: dict[str, str] | None = Field(None, description='names of the ids of a segmentation map: {"0": "sky"}')
    shaded: bool = Field(False, description="a depth map as a relief, lit from the upper left")
    picture: str | None = Field(None, description="a picture to draw on, its bytes as base64; grey without it")


def render_preview(body: PreviewBody, limits: Limits) -> bytes:
    """A PNG with its legend. Raises `BadInput`, and `BadQuery` for what is not base64."""
    kind = known_modality(body.modality)
    name = body.name or f"the {kind.name}"
    if kind.content not in _SHOWN:
        raise BadInput(f"{name} has no preview: {kind.name} is {kind.describes}")
    classes = parse_classes(body.classes, name) if body.classes else None
    value = value_of(kind.name, sent_data(body.data, kind.content, name), limits, name, classes)
    if body.shaded and kind.content is Content.DEPTH:
        return png(kind.name, depth_relief(cast(FloatArray, value))).data
    picture = None
    if body.picture is not None:
        called = "the picture of the preview"
        data = cast(bytes, sent_data(body.picture, Content.PICTURE, called))
        picture = cast(ByteArray, decode("rgb", data, limits, called))
    files = files_of(Prediction(kind.name, value), picture)
    return next(file.data for file in files if file.name == f"{kind.name}.{PREVIEW}.png")


@router.post("", response_class=Response, responses={200: {"content": {"image/png": {}}}})
async def preview(body: PreviewBody, service: ServiceDependency) -> Response:
    """Render a value as a coloured PNG with a legend: depth, semseg, boxes, poses, palettes, feature maps."""
    return Response(await service.pool.run(render_preview, body, service.limits), media_type="image/png")
