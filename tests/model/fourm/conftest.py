"""A complete set of random checkpoints, and a Hub that has it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anyseek.model.fourm.inputs import FourMParts
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published.loading import load_published
from anyseek.model.fourm.published.names import OWNER
from anyseek.model.fourm.published.store import MODEL_FILE
from tests.model.fourm.published.local_hub import LocalHub, serving
from tests.random_weights import write_random_models


@pytest.fixture(scope="session")
def published_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with everything installed; tests leave it as it is."""
    made = tmp_path_factory.mktemp("published")
    write_random_models(made)
    return made


@pytest.fixture(scope="session")
def weights(published_home: Path) -> Callable[[str], bytes]:
    """The bytes of a checkpoint's weights file."""
    return lambda name: (published_home / "models" / name / MODEL_FILE).read_bytes()


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """A running Hub without files."""
    with serving(LocalHub()) as running:
        yield running


@pytest.fixture
def offer(hub: LocalHub, weights: Callable[[str], bytes]) -> Callable[..., None]:
    """Puts checkpoints on the Hub."""

    def put(*names: str) -> None:
        for name in names:
            hub.large[f"{OWNER}/{name}", MODEL_FILE] = weights(name)

    return put


@pytest.fixture(scope="session")
def model(published_home: Path) -> FourMModel:
    """The random 4M-21_B with its tokenizers, vocabulary and network for super-resolution."""
    return load_published("4M-21_B", published_home)


@pytest.fixture(scope="session")
def parts(model: FourMModel) -> FourMParts:
    """Its network and what its values and tokens go through."""
    return model.parts
