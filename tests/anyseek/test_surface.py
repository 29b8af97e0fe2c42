"""What other programs may rely on: the names, and that they come fast."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import anyseek

_HEAVY = ("torch", "numpy", "faiss", "sqlalchemy", "fastapi", "PIL")


def test_the_public_names_are_these() -> None:
    assert anyseek.__all__ == [
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
    assert dir(anyseek) == sorted(anyseek.__all__)
    for name in anyseek.__all__:
        assert getattr(anyseek, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Service'"):
        _ = anyseek.Service


def test_every_public_class_and_function_is_documented() -> None:
    for name in anyseek.__all__:
        member = getattr(anyseek, name)
        if inspect.isclass(member) or inspect.isfunction(member):
            assert member.__doc__, name


def test_importing_it_imports_nothing_heavy() -> None:
    program = f"import sys, anyseek; anyseek.Client; print([m for m in {_HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_a_model_is_opened_by_name(tmp_path: Path) -> None:
    model = anyseek.open_model("hashing", tmp_path)
    (space,) = model.spaces
    vectors = model.embed([anyseek.Sample({"caption": "a red bicycle"})], [space])[space]
    assert vectors.shape == (1, model.spaces[space].dimension)
    with pytest.raises(anyseek.ModelError, match="no-such-model"):
        anyseek.open_model("no-such-model", tmp_path)
