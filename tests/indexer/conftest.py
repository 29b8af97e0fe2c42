"""What most tests of this folder begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from anyseek.indexer.indexing import ensure_collection
from anyseek.indexer.runs import IndexerContext
from tests.indexer.harness import NAME, Watched, installation


@pytest.fixture
def context(tmp_path: Path) -> Iterator[IndexerContext]:
    """An installation with an empty collection of the hashing model, which counts what it embeds."""
    with installation(tmp_path / "home", Watched()) as context:
        ensure_collection(context, NAME)
        yield context
