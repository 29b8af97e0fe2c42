from pathlib import Path
from typing import Any

import pytest

from tests.model.training.runs import Written, train, write_config
from tests.model.training.shapes import settings, with_recall, write_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretraining") / "shapes"
    write_data(folder)
    return folder


@pytest.fixture
def config(data: Path) -> dict[str, Any]:
    return settings(data)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a config file and gives its path."""
    return lambda values: write_config(values, tmp_path)


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with recall, beside its config; nobody may change it."""
    folder = tmp_path_factory.mktemp("finished")
    said: list[str] = []
    assert train(write_config(with_recall(settings(data), folder), folder), folder / "run", say=said.append)
    (folder / "said.txt").write_text("\n".join(said))
    return folder / "run"
