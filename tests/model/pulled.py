"""What `anyseek models pull` fetched for the user who runs the tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anyseek.model.errors import WeightsMissing

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()


@contextmanager
def or_skip() -> Iterator[None]:
    """Skip the test where its weights were not pulled."""
    try:
        yield
    except WeightsMissing as error:
        pytest.skip(str(error))
