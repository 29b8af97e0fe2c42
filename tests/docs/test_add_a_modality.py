"""docs/add-a-modality.md, every command of it, in a folder and with a data directory of their own."""

import re
from pathlib import Path

import pytest

from anyseek.model.data.shards import open_dataset
from anyseek.model.training.run.folder import read_records
from tests.docs.shell import environment, typed
from tests.encoders import link_encoders

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "add-a-modality.md"
_MAX_SECONDS = 1800  # seconds for one block, on a machine that others use


def blocks() -> list[str]:
    """The shell commands of the document, a block each."""
    return re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which the document's relative paths are right, and encoders that are there already."""
    for name in ("configs", "model"):
        (tmp_path / name).symlink_to(ROOT / name)
    link_encoders(tmp_path / "home")
    return tmp_path


def test_the_document_has_commands() -> None:
    assert sum("anyseek " in block for block in blocks()) >= 5


@pytest.mark.slow
def test_every_command_of_the_document_works_and_the_query_finds_its_room(folder: Path) -> None:
    said = [typed(block, folder, environment(folder), _MAX_SECONDS) for block in blocks()]
    run = folder / "runs" / "thermal" / "run"
    assert open_dataset(folder / "runs" / "thermal" / "data").modalities["thermal"] == 300
    assert re.search(r"new .*encoder_embeddings\.thermal_map \(2\)", "\n".join(said))
    (found,) = re.findall(r"--input thermal=\S+/(\S+)\.png", blocks()[-1])
    assert found in said[-1]
    assert len(read_records(run / "evaluation.csv")) == 2
