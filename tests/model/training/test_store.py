import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from model.training.concepts import Split
from model.training.store import Store, load_store


@pytest.fixture
def cache(store: Store, tmp_path: Path) -> Path:
    """The store as `prepare` leaves it."""
    (tmp_path / "features").mkdir()
    (tmp_path / "rows.json").write_text(json.dumps([asdict(row) for row in store.rows]))
    arrays = {"maps": store.maps, "pooled": store.pooled, "logits": store.logits, "palettes": store.palettes}
    np.savez(tmp_path / "features" / "0000.npz", **arrays)
    return tmp_path


def test_what_was_prepared_is_loaded(store: Store, cache: Path) -> None:
    loaded = load_store(cache)
    assert loaded.rows == store.rows
    np.testing.assert_array_equal(loaded.where(Split.TRAIN), store.where(Split.TRAIN))


def test_a_vendor_left_out_is_neither_trained_on_nor_looked_for(cache: Path) -> None:
    loaded = load_store(cache, without=["openmoji"])
    assert {loaded.rows[n].source for n in loaded.where(Split.TRAIN)} == {"noto", "photo"}
    assert "openmoji:1F355" not in loaded.pictures_by("subject")
    # what development asks about that vendor stays
    assert {loaded.rows[n].source for n in loaded.where(Split.DEVELOPMENT)} == {"openmoji"}
