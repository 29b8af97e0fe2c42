"""The public interface of Anyseek: a search client with its types, and models in your own process.

    import anyseek

    client = anyseek.connect()
    for hit in client.query("photos", "a red bicycle").hits:
        print(hit.key, hit.score)

    model = anyseek.open_model("4m-tiny")
    vectors = model.embed([anyseek.Sample({"caption": "a red bicycle"})], list(model.spaces))

The names in `__all__` are stable. Everything else may change without notice, including the subpackages. Each name is
imported when it is first used, so that importing a subpackage imports nothing else.
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
    from anyseek.model.errors import ModelError
    from anyseek.model.seam import Embedder, Sample
    from anyseek.search.answers.results import Hit, Refusal, Results
    from anyseek.search.errors import AnyseekError, BadInput
    from anyseek.search.query.query import Part, Query

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

_NAMES = {  # what `__getattr__` imports, by module
    "api.client.answers": "Attribute Collection Duplicates Failure Item Job JobEvent Map Model Quota Retry Tuning",
    "api.client.async_client": "AsyncClient",
    "api.client.client": "Client",
    "api.errors": "ApiError ClientError ServiceUnreachable",
    "api.predictions.wire": "Guess Input Predicted PredictedFile Predictions Refused",
    "model.errors": "ModelError",
    "model.seam": "Sample",
    "search.answers.results": "Hit Refusal Results",
    "search.errors": "AnyseekError BadInput",
    "search.query.query": "Part Query",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


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
        anyseek.connect("/data/anyseek")                   # another directory
        anyseek.connect("https://pictures.example", key)   # a service

    The parameters are those of `Client`, but by default requests wait for a service that is still loading its model.
    """
    from anyseek.api.client.client import Client

    return Client(location, key, timeout, patience, model=model)


def open_model(name: str | None = None, home: Path | None = None) -> "Embedder":
    """Return the model `name`: one that `anyseek models list` lists, or the absolute path of a model's folder.

    Its `embed` makes vectors of `Sample`s; its `modalities` and `spaces` say which samples it takes and which vectors
    it makes. By default it is the bundled model. Weights are read from the data directory `home`, by default
    ANYSEEK_HOME or ~/.anyseek. Raises `ModelError` if the model is unknown, or its weights are missing or damaged.
    """
    from anyseek.model.home import default_home
    from anyseek.model.registry.loading import load_embedder
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
