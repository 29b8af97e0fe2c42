"""The types that clients return, under their public names; each is imported when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anyseek.api import schemas
    from anyseek.api.routes import collections, jobs, maps, service, taught

    Attribute = schemas.FieldAnswer
    Collection = schemas.CollectionAnswer
    Duplicates = schemas.DuplicatesAnswer
    Failure = jobs.FailureAnswer
    Item = schemas.ItemAnswer
    Job = jobs.JobAnswer
    JobEvent = jobs.JobEvent
    Map = maps.MapAnswer
    Model = service.ModelAnswer
    Quota = service.QuotaAnswer
    Reason = taught.ReasonAnswer
    Retry = jobs.RetryAnswer
    TaughtFacet = taught.TaughtAnswer
    Tuning = collections.TunedAnswer

_CLASSES = {
    "Attribute": "schemas:FieldAnswer",
    "Collection": "schemas:CollectionAnswer",
    "Duplicates": "schemas:DuplicatesAnswer",
    "Failure": "routes.jobs:FailureAnswer",
    "Item": "schemas:ItemAnswer",
    "Job": "routes.jobs:JobAnswer",
    "JobEvent": "routes.jobs:JobEvent",
    "Map": "routes.maps:MapAnswer",
    "Model": "routes.service:ModelAnswer",
    "Quota": "routes.service:QuotaAnswer",
    "Reason": "routes.taught:ReasonAnswer",
    "Retry": "routes.jobs:RetryAnswer",
    "TaughtFacet": "routes.taught:TaughtAnswer",
    "Tuning": "routes.collections:TunedAnswer",
}


def __getattr__(name: str) -> Any:
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, kind = _CLASSES[name].partition(":")
    return getattr(import_module(f"anyseek.api.{module}"), kind)
