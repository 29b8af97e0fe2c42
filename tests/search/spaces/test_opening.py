"""What the settings lead to."""

from dataclasses import replace

import pytest

from anyseek.search.errors import IndexUnavailable
from anyseek.search.settings import BACKENDS, Index, Qdrant, Settings
from anyseek.search.spaces.base import check_backend


def test_settings_are_tried_out(settings: Settings) -> None:
    assert check_backend(settings) == "FAISS, auto, on the CPU of this process"
    local = replace(settings, index=Index(backend="qdrant"))
    assert "answers" in check_backend(local)
    with pytest.raises(IndexUnavailable, match="ANYSEEK_QDRANT_URL"):
        check_backend(replace(local, qdrant=Qdrant(url="http://127.0.0.1:9")))


def test_every_backend_in_the_table_is_there(settings: Settings) -> None:
    for name in BACKENDS:
        assert check_backend(replace(settings, index=Index(backend=name)))
