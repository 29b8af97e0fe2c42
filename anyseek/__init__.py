"""Anyseek for other programs: clients of a service, their requests and answers, and models in your own process.

    import anyseek

    with anyseek.Client("http://127.0.0.1:8765") as client:
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
    from anyseek.api.client.http import AsyncClient, Client
    from anyseek.api.errors import ApiError, ClientError, ServiceUnreachable
    from anyseek.api.predictions.wire import Guess, Input, Predicted, PredictedFile, Predictions, Refused
    from anyseek.model.errors import ModelError
    from anyseek.model.seam import Embedder, Sample
    from anyseek.search.answers.results import Hit, Refusal, Results
    from anyseek.search.errors import AnyseekError
    from anyseek.search.query.query import Part, Query

__version__: str

__all__ = [
    "AnyseekError",
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "Guess",
    "Hit",
    "Input",
    "ModelError",
    "Part",
    "Predicted",
    "PredictedFile",
    "Predictions",
    "Query",
    "Refusal",
    "Refused",
    "Results",
    "Sample",
    "ServiceUnreachable",
    "__version__",
    "open_model",
]

_MODULES = {  # of what `__getattr__` imports
    "AnyseekError": "search.errors",
    "ApiError": "api.errors",
    "AsyncClient": "api.client.http",
    "Client": "api.client.http",
    "ClientError": "api.errors",
    "Guess": "api.predictions.wire",
    "Hit": "search.answers.results",
    "Input": "api.predictions.wire",
    "ModelError": "model.errors",
    "Part": "search.query.query",
    "Predicted": "api.predictions.wire",
    "PredictedFile": "api.predictions.wire",
    "Predictions": "api.predictions.wire",
    "Query": "search.query.query",
    "Refusal": "search.answers.results",
    "Refused": "api.predictions.wire",
    "Results": "search.answers.results",
    "Sample": "model.seam",
    "ServiceUnreachable": "api.errors",
}


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
