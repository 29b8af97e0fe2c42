"""Previews: maps and boxes as pictures, whether or not the model takes them."""

from fastapi import APIRouter, Response

from api.dependencies import ServiceDependency, requires
from api.previews import PreviewBody, render_preview
from api.security import Scope

router = APIRouter(prefix="/v1/previews", tags=["previews"], dependencies=[requires(Scope.READ)])


@router.post("", response_class=Response, responses={200: {"content": {"image/png": {}}}})
async def preview(body: PreviewBody, service: ServiceDependency) -> Response:
    """A value as a coloured PNG with a legend: depth, semseg, boxes, poses, palettes, feature maps."""
    return Response(await service.run(render_preview, body, service.limits), media_type="image/png")
