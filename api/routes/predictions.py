"""Prediction of modalities from others, and previews of values that a browser cannot show, such as depth maps."""

from functools import partial
from typing import cast

from fastapi import APIRouter, Request, Response
from pydantic import Field, TypeAdapter

from anyseek.api.contents import decode_data, value_of
from anyseek.api.dependencies import JsonRoute, ServiceDependency, is_form, read_form, read_json, requires
from anyseek.api.http.security import Scope
from anyseek.api.predictions.requests import PredictBody, request_from_form, request_from_wire
from anyseek.api.predictions.wire import Predictions
from anyseek.api.schemas import Body
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.decode import decode, known_modality
from anyseek.model.modalities.reading.documents import parse_classes
from anyseek.model.modalities.registry import Content
from anyseek.model.modalities.rendering.files import PREVIEW, png_file
from anyseek.model.modalities.rendering.previews import depth_relief
from anyseek.model.modalities.values import prediction_files
from anyseek.model.seam import FloatArray, Prediction
from anyseek.search.errors import BadInput
from anyseek.search.settings import Limits

router = APIRouter(prefix="/v1/predict", tags=["predictions"], dependencies=[requires(Scope.READ)])
previews = APIRouter(
    prefix="/v1/previews", tags=["previews"], dependencies=[requires(Scope.READ)], route_class=JsonRoute
)

_REQUEST = TypeAdapter(PredictBody)
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/PredictBody"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "description": "A field for each input: its modality, and `:0.7` for a weight; options by name.",
                    "required": ["targets"],
                    "properties": {
                        "rgb": {"type": "string", "format": "binary"},
                        "caption": {"type": "string", "example": "a red bus"},
                        "targets": {"type": "string", "example": "depth,semseg,caption"},
                        "model": {"type": "string", "example": "4M-21_B"},
                        "seed": {"type": "integer", "minimum": 0, "default": 0},
                        "steps": {"type": "integer", "minimum": 1},
                        "classes": {"type": "string", "example": '{"0": "sky"}'},
                        "forms": {"type": "string", "example": '{"depth": "near-bright"}'},
                        "box": {
                            "type": "string",
                            "example": "[0.1, 0.2, 0.6, 0.9]",
                            "description": "the part of the picture to predict from",
                        },
                    },
                }
            },
        },
    }
}


@router.post("", openapi_extra=_BODY)
async def predict(request: Request, service: ServiceDependency) -> Predictions:
    """Predict the targets from the inputs, one after the other: each sees those before it.

    As JSON, with files as base64, or as a form, with fields named by modality. `value` of a prediction is its text or
    its numbers; pictures, maps and all raw arrays are among its files.
    """
    if is_form(request):
        read = partial(request_from_form, await read_form(request))
    else:
        read = partial(request_from_wire, await read_json(request, _REQUEST))
    return await service.predictions.run(lambda: service.predictor.predict(read(service.limits)))


_PREVIEWED = {Content.DEPTH, Content.REGIONS, Content.BOXES, Content.POSES, Content.PALETTE, Content.FEATURES}


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
    if kind.content not in _PREVIEWED:
        raise BadInput(f"{name} has no preview: {kind.name} is {kind.describes}")
    classes = parse_classes(body.classes, name) if body.classes else None
    value = value_of(kind.name, decode_data(body.data, kind.content, name), limits, name, classes)
    if body.shaded and kind.content is Content.DEPTH:
        return png_file(kind.name, depth_relief(cast(FloatArray, value))).data
    picture = None
    if body.picture is not None:
        label = "the picture of the preview"
        data = cast(bytes, decode_data(body.picture, Content.PICTURE, label))
        picture = cast(ByteArray, decode("rgb", data, limits, label))
    files = prediction_files(Prediction(kind.name, value), picture)
    return next(file.data for file in files if file.name == f"{kind.name}.{PREVIEW}.png")


@previews.post("", response_class=Response, responses={200: {"content": {"image/png": {}}}})
async def preview(body: PreviewBody, service: ServiceDependency) -> Response:
    """Render a value as a coloured PNG with a legend: depth, semseg, boxes, poses, palettes, feature maps."""
    return Response(await service.pool.run(render_preview, body, service.limits), media_type="image/png")
