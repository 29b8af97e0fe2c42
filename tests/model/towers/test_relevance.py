"""The file of relevance: what is saved is read again, and a damaged one is refused."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from anyseek.model.errors import WeightsCorrupt
from anyseek.model.seam import RelevanceCurve
from anyseek.model.towers.relevance import FILE, load_relevance, save_relevance

DIMENSION = 2048  # so that queries are stored as int8


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    queries = np.random.default_rng(0).normal(size=(3, DIMENSION)).astype(np.float32)
    curve = RelevanceCurve(-2.0, (1.0, 0.5), 0.04)
    save_relevance(tmp_path / FILE, {"caption": queries}, {"caption": curve, "rgb": curve})
    read, curves = load_relevance(tmp_path / FILE, DIMENSION)
    assert curves == {"caption": curve, "rgb": curve}
    assert read["caption"] == pytest.approx(queries, abs=2e-2)
    with pytest.raises(WeightsCorrupt, match="they have 2049 numbers"):
        load_relevance(tmp_path / FILE, DIMENSION + 1)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    with pytest.raises(WeightsCorrupt, match="no constants of relevance"):
        load_relevance(path, DIMENSION)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(WeightsCorrupt, match="no constants of relevance"):
        load_relevance(path, DIMENSION)
    save_file({"a": np.zeros(1, np.float32)}, path, {"curves": '{"rgb": {"offset": "low"}}'})
    with pytest.raises(WeightsCorrupt, match="no curves of relevance"):
        load_relevance(path, DIMENSION)
    save_file({"a": np.zeros(1, np.float32)}, path)
    with pytest.raises(WeightsCorrupt, match="no constants of relevance"):
        load_relevance(path, DIMENSION)
