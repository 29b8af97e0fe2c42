"""What is particular to bridges; `tests/contracts/test_embedder.py` has what all embedders do."""

from pathlib import Path

import numpy as np
import pytest

from anyseek.model.bridges.embedder import BridgeEmbedder, load_bridge_embedder
from anyseek.model.bridges.files import NUMBERS_FILE, folder_of
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.openclip.embedder import SPACE, load_openclip_embedder
from anyseek.model.openclip.files import WEIGHTS_FILE
from anyseek.model.registry.loading import load_embedder
from anyseek.model.registry.verification import verify_model
from anyseek.model.seam import FloatArray, Sample, Value
from anyseek.model.training.bridges.adapt import plain_bridge
from tests.model.openclip.making import CONFIG, make_folder
from tests.random_bridge import write_random_bridge

PICTURE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
DEPTH = np.linspace(1, 9, 2400, dtype=np.float32).reshape(40, 60)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_random_bridge(tmp_path)
    return tmp_path


def _stored(embedder: BridgeEmbedder, **values: Value) -> FloatArray:
    return embedder.embed_gallery([Sample(values)], [SPACE])[SPACE][0]


def test_a_photo_is_stored_as_the_model_beneath_sees_it(home: Path) -> None:
    bridge = load_bridge_embedder("bridge:random", home)
    base = load_openclip_embedder(f"openclip:local-dir:{home / 'open_clip'}", home)
    np.testing.assert_allclose(
        _stored(bridge, rgb=PICTURE), base.embed([Sample({"rgb": PICTURE})], [SPACE])[SPACE][0], atol=1e-6
    )


def test_maps_beside_a_photo_do_not_change_it_and_its_caption_does(home: Path) -> None:
    bridge = load_bridge_embedder("bridge:random", home)
    alone = _stored(bridge, rgb=PICTURE)
    np.testing.assert_array_equal(_stored(bridge, rgb=PICTURE, depth=DEPTH), alone)
    assert _stored(bridge, rgb=PICTURE, caption="a red bicycle") @ alone < 0.999


def test_an_item_without_a_photo_is_found_by_the_same_value(home: Path) -> None:
    bridge = load_bridge_embedder("bridge:random", home)
    asked = bridge.embed([Sample({"depth": DEPTH})], [SPACE])[SPACE][0]
    moved = _stored(bridge, depth=DEPTH) - bridge.spaces[SPACE].gallery_prior
    assert asked @ moved / np.linalg.norm(moved) > 0.9


def test_a_plain_bridge_is_the_model_itself_for_what_that_takes(tmp_path: Path) -> None:
    base = load_openclip_embedder(f"openclip:local-dir:{make_folder(tmp_path / 'model')}", tmp_path)
    plain = BridgeEmbedder("bridge:plain", "f" * 64, base, plain_bridge(CONFIG["embed_dim"]))
    assert plain.modalities > base.modalities
    assert "metadata" not in plain.modalities
    for sample in (Sample({"rgb": PICTURE}), Sample({"caption": "a cat"}), Sample({"canny_edge": PICTURE[:, :, 0]})):
        np.testing.assert_allclose(
            plain.embed([sample], [SPACE])[SPACE], base.embed([sample], [SPACE])[SPACE], atol=1e-6
        )


def test_a_sample_that_says_nothing_asks_for_the_average_photo(home: Path) -> None:
    bridge = load_bridge_embedder("bridge:random", home)
    row = bridge.embed([Sample({"metadata": Metadata({})})], [SPACE])[SPACE][0]
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


def test_it_belongs_to_the_exact_weights_that_it_was_fitted_to(home: Path) -> None:
    make_folder(home / "open_clip", CONFIG | {"quick_gelu": True})
    with pytest.raises(CheckpointMismatch, match="other weights of openclip:local-dir:"):
        load_embedder("bridge:random", home)


def test_changed_numbers_are_refused_and_told_by_verify(home: Path) -> None:
    said: list[str] = []
    assert verify_model("bridge:random", home, said.append) == []
    assert said[0].startswith("bridge:random  right  fingerprint ")
    path = folder_of("bridge:random", home) / NUMBERS_FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsCorrupt, match="has changed since it was fitted"):
        load_embedder("bridge:random", home)
    (complaint,) = verify_model("bridge:random", home, said.append)
    assert "has changed" in complaint


def test_without_its_model_it_says_what_is_missing(home: Path) -> None:
    (home / "open_clip" / WEIGHTS_FILE).unlink()
    (complaint,) = verify_model("bridge:random", home, print)
    assert "holds no *.safetensors" in complaint
