"""Anyseek for other programs: search, its requests and answers, and models in your own process.

    import anyseek

    client = anyseek.connect()
    for hit in client.query("photos", "a red bicycle").hits:
        print(hit.key, hit.score)

    model = anyseek.open_model("4m-tiny")
    vectors = model.embed([anyseek.Sample({"caption": "a red bicycle"})], list(model.spaces))

The names in `__all__` are stable. Everything else may change without notice, including the subpackages. Each name is
imported when it is first used, so that importing a subpackage imports nothing beside it.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anyseek.api.client.answers import (
        Attribute,
        Collection,
        Duplicates,
        Failure,
        Item,
        Job,
        JobEvent,
        Map,
        Model,
        Quota,
        Retry,
        Tuning,
    )
    from anyseek.api.client.async_client import AsyncClient
    from anyseek.api.client.client import Client
    from anyseek.api.errors import ApiError, ClientError, ServiceUnreachable
    from anyseek.api.predictions.wire import Guess, Input, Predicted, PredictedFile, Predictions, Refused
    from anyseek.api.queries.wire import Hit, Part, Query, Refusal, Results
    from anyseek.model.errors import ModelError
    from anyseek.model.seam import Embedder, Sample
    from anyseek.search.errors import AnyseekError, BadInput

__version__: str

__all__ = [
    "AnyseekError",
    "ApiError",
    "AsyncClient",
    "Attribute",
    "BadInput",
    "Client",
    "ClientError",
    "Collection",
    "Duplicates",
    "Failure",
    "Guess",
    "Hit",
    "Input",
    "Item",
    "Job",
    "JobEvent",
    "Map",
    "Model",
    "ModelError",
    "Part",
    "Predicted",
    "PredictedFile",
    "Predictions",
    "Query",
    "Quota",
    "Refusal",
    "Refused",
    "Results",
    "Retry",
    "Sample",
    "ServiceUnreachable",
    "Tuning",
    "__version__",
    "connect",
    "open_model",
]

_MODULES = {  # of what `__getattr__` imports
    "AnyseekError": "search.errors",
    "ApiError": "api.errors",
    "AsyncClient": "api.client.async_client",
    "Attribute": "api.client.answers",
    "BadInput": "search.errors",
    "Client": "api.client.client",
    "ClientError": "api.errors",
    "Collection": "api.client.answers",
    "Duplicates": "api.client.answers",
    "Failure": "api.client.answers",
    "Guess": "api.predictions.wire",
    "Hit": "api.queries.wire",
    "Input": "api.predictions.wire",
    "Item": "api.client.answers",
    "Job": "api.client.answers",
    "JobEvent": "api.client.answers",
    "Map": "api.client.answers",
    "Model": "api.client.answers",
    "ModelError": "model.errors",
    "Part": "api.queries.wire",
    "Predicted": "api.predictions.wire",
    "PredictedFile": "api.predictions.wire",
    "Predictions": "api.predictions.wire",
    "Query": "api.queries.wire",
    "Quota": "api.client.answers",
    "Refusal": "api.queries.wire",
    "Refused": "api.predictions.wire",
    "Results": "api.queries.wire",
    "Retry": "api.client.answers",
    "Sample": "model.seam",
    "ServiceUnreachable": "api.errors",
    "Tuning": "api.client.answers",
}


def connect(
    location: str | Path | None = None,
    key: str | None = None,
    *,
    model: str | None = None,
    timeout: float = 120.0,
    patience: float = 120.0,
) -> "Client":
    """Open a data directory in this process, or connect to a service; the methods are the same.

        anyseek.connect()                                  # the directory of ANYSEEK_HOME, or ~/.anyseek
        anyseek.connect("/data/anyseek")                   # another one
        anyseek.connect("https://pictures.example", key)   # a service

    The parameters are those of `Client`, but a service that is still loading its model is waited for.
    """
    from anyseek.api.client.client import Client

    return Client(location, key, timeout, patience, model=model)


def open_model(name: str | None = None, home: Path | None = None) -> "Embedder":
    """Return the model called `name`, one that `anyseek models list` lists or the absolute path of a model's folder.

    Its `embed` makes vectors of `Sample`s; its `modalities` and `spaces` say which samples it takes and which vectors
    it makes. Without a name it is the bundled model. Weights are read from below `home`, the data directory; by default
    ANYSEEK_HOME or ~/.anyseek. Raises `ModelError` if the model is unknown, or its weights are missing or damaged.
    """
    from anyseek.model.home import default_home
    from anyseek.model.library.loading import load_embedder
    from anyseek.search.settings import DEFAULT_MODEL

    return load_embedder(name or DEFAULT_MODEL, home or default_home())


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _MODULES:
        return getattr(import_module(f"anyseek.{_MODULES[name]}"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("anyseek")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
