"""Predicting any modalities from any others."""

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.dependencies import ServiceDependency, read_form, requires
from api.predicting import Predictor
from api.prediction_requests import PredictionRequest, request_from_uploads, request_of
from api.prediction_schemas import PredictAnswer, PredictBody
from api.security import Scope

router = APIRouter(prefix="/v1/predict", tags=["predictions"], dependencies=[requires(Scope.READ)])

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
                    },
                }
            },
        },
    }
}


@router.post("", openapi_extra=_BODY)
async def predict(request: Request, service: ServiceDependency) -> PredictAnswer:
    """Predict the targets from the inputs, one after the other: each sees those before it.

    As JSON, with files as base64, or as a form, with fields named by modality. `value` of a prediction is its text or
    its numbers; pictures, maps and all raw arrays are among its files.
    """
    predictor, limits = service.predictor, service.limits
    if request.headers.get("content-type", "").startswith("multipart/"):
        uploads = await read_form(request)
        return await service.predictions.run(lambda: _answer(predictor, request_from_uploads(uploads, limits)))
    body = await _read_body(request)
    return await service.predictions.run(lambda: _answer(predictor, request_of(body, limits)))


def _answer(predictor: Predictor, wanted: PredictionRequest) -> PredictAnswer:
    return PredictAnswer.of(predictor.predict(wanted))


async def _read_body(request: Request) -> PredictBody:
    try:
        return PredictBody.model_validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError(
            error.errors(include_url=False, include_input=False, include_context=False)
        ) from error
