from pathlib import Path

import pytest

from tests.model.training.tokenizing.scenes import write_scenes


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizing") / "scenes"
    write_scenes(folder)
    return folder
