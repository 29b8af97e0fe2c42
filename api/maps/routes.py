"""The map of a collection: where alike items lie near each other."""

from typing import Annotated

from fastapi import APIRouter, Query

from anyseek.api.dependencies import JsonRoute, ServiceDependency, requires
from anyseek.api.http.security import Scope
from anyseek.api.maps.schemas import MapAnswer
from anyseek.search.maps import MOST_ITEMS, MapRequest

router = APIRouter(prefix="/v1/collections/{collection}/map", tags=["collections"], route_class=JsonRoute)

Items = Annotated[int, Query(ge=1, le=MOST_ITEMS, description="how many items at most; a sample if there are more")]
SpaceName = Annotated[str | None, Query(description="the space whose vectors are laid out; else the model chooses")]
Attribute = Annotated[str | None, Query(description="an attribute whose values are told and coloured")]
Seed = Annotated[int, Query(ge=0, le=2**32 - 1, description="what chances are drawn from; equal seeds, equal maps")]


@router.get("", dependencies=[requires(Scope.READ)])
async def get_map(
    collection: str,
    service: ServiceDependency,
    space: SpaceName = None,
    colour_by: Attribute = None,
    limit: Items = 5_000,
    seed: Seed = 0,
) -> MapAnswer:
    """Get where items lie on a map of the collection. It takes seconds once, and again when the collection changes."""
    service.check_ready()
    wanted = MapRequest(space, colour_by, limit, seed)

    def work() -> MapAnswer:
        found = service.runtime.through_switches(lambda: service.engine_for(collection).map(collection, wanted))
        return MapAnswer.of(found, colour_by is not None)

    return await service.maps.run(work)
