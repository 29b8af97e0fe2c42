"""Anyseek for other programs: clients of a service, their requests and answers, and models in your own process.

    import anyseek

    with anyseek.Client("http://127.0.0.1:8765") as client:
        for hit in client.query("photos", "a red bicycle").hits:
            print(hit.key, hit.score)

    model = anyseek.open_model("4m-tiny")
    vectors = model.embed([anyseek.Sample({"caption": "a red bicycle"})], list(model.spaces))

The names in `__all__` are stable. Everything else may change without notice, including the packages `api`, `workers`,
`indexer`, `search` and `model`. Importing this package imports neither torch nor NumPy.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.client import AsyncClient, Client
from api.errors import ApiError, ClientError, ServiceUnreachable
from api.predictions.wire import Guess, Input, Predicted, PredictedFile, Predictions, Refused
from api.queries.wire import Hit, Part, Query, Refusal, Results
from model.errors import ModelError
from model.home import default_home
from search.errors import AnyseekError
from search.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from model.seam import Embedder, Sample

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


def open_model(name: str = DEFAULT_MODEL, home: Path | None = None) -> "Embedder":
    """Open the model called `name`, one that `anyseek models list` lists or the absolute path of a model's folder.

    Its `embed` makes vectors of `Sample`s; its `modalities` and `spaces` say which samples it takes and which vectors
    it makes. Weights are read from below `home`, the data directory; by default ANYSEEK_HOME or ~/.anyseek. Raises
    `ModelError` if the model is unknown, or its weights are missing or damaged.
    """
    from model.loading import load_embedder

    return load_embedder(name, home or default_home())


def __getattr__(name: str) -> Any:
    """Import names that take a moment to import when they are first used."""
    if name == "Sample":
        return import_module("model.seam").Sample
    if name == "__version__":
        from importlib.metadata import version

        return version("anyseek")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
