from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.model.training.shapes import settings, write_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretraining") / "shapes"
    write_data(folder)
    return folder


@pytest.fixture
def config(data: Path) -> dict[str, Any]:
    return settings(data)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes a config file and gives its path."""

    def write(values: dict[str, Any]) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write
