"""Predicting any modalities from any others."""

from functools import partial

from fastapi import APIRouter, Request
from pydantic import TypeAdapter

from anyseek.api.dependencies import ServiceDependency, is_form, read_form, read_json, requires
from anyseek.api.http.security import Scope
from anyseek.api.predictions.requests import PredictBody, request_from_form, request_from_wire
from anyseek.api.predictions.wire import Predictions

router = APIRouter(prefix="/v1/predict", tags=["predictions"], dependencies=[requires(Scope.READ)])

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
