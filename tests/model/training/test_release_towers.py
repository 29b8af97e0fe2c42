"""Towers beside a network: a folder that loads as a model whose joint space needs no pass of the network."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.encoders.pull import check_encoders
from anyseek.model.errors import WeightsCorrupt, WeightsMissing
from anyseek.model.fourm.bundled.bundle import CERTAINTY, MANIFEST, TOWERS_SPACE, load_bundle
from anyseek.model.fourm.bundled.layout import SEMANTIC, VISUAL
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.fourm.model import FourMModel
from anyseek.model.home import default_home
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.seam import Sample
from anyseek.model.towers.space import FILE
from anyseek.model.training.release import BETTER_PREDICTED
from tests.random_towers import WEIGHTS, write_bundle_with_towers

GREY, RED = (np.full((64, 48, 3), colour, np.uint8) for colour in ([90, 90, 90], [200, 20, 20]))
BLOCKS = (24, 24, 384, 8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("towers") / "whole"
    write_bundle_with_towers(folder)
    return folder


@pytest.fixture(scope="module")
def model(bundle: Path) -> FourMModel:
    try:
        check_encoders(default_home())
    except WeightsMissing as error:
        pytest.skip(str(error))
    return load_bundled("whole", default_home(), bundle)


def test_the_joint_space_is_the_default_of_what_towers_take(bundle: Path) -> None:
    loaded = load_bundle("whole", bundle)
    assert loaded.towers_space.space.blocks == BLOCKS
    assert {loaded.default_spaces[name] for name in WEIGHTS.keys() - BETTER_PREDICTED} == {TOWERS_SPACE}
    assert loaded.default_spaces["metadata"] == loaded.default_spaces["color_palette"] == VISUAL


def test_towers_change_the_fingerprint(bundle: Path) -> None:
    assert load_bundle("whole", bundle).fingerprint != load_bundle("network", bundle.parent / "network").fingerprint


def test_damaged_towers_are_refused(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "copy")
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-10])
    with pytest.raises(WeightsCorrupt, match=FILE):
        load_bundle("copy", folder)


@pytest.mark.parametrize("damaged", [{}, {"sure": 2, "weights": {}}, {"sure": 0.5, "weights": {"guess": [1]}}, []])
def test_a_damaged_calibration_is_refused(bundle: Path, tmp_path: Path, damaged: object) -> None:
    folder = shutil.copytree(bundle, tmp_path / "copy")
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, CERTAINTY: damaged}))
    with pytest.raises(WeightsCorrupt, match="how sure captions are"):
        load_bundle("copy", folder)


def test_both_bundled_sets_say_how_sure_they_are() -> None:
    for name in ("4m-tiny", "4m-tiny-open"):
        assert load_bundle(name).certainty is not None


def test_network_and_towers_have_a_vector_for_every_sample(model: FourMModel) -> None:
    samples = [
        Sample({"rgb": GREY}),
        Sample({"caption": "a red car"}),
        Sample({"rgb": RED, "caption": "a red car"}),
        Sample({"metadata": Metadata({"brightness": 0.5})}),
        Sample({"canny_edge": np.zeros((64, 64), np.uint8)}),
    ]
    found = model.embed(samples, [TOWERS_SPACE, SEMANTIC, VISUAL])  # colours knows pictures and palettes alone
    for rows in found.values():
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    alone = model.embed(samples[2:3], [TOWERS_SPACE])[TOWERS_SPACE]
    np.testing.assert_allclose(found[TOWERS_SPACE][2:3], alone, atol=1e-5)


def test_what_towers_do_not_take_has_words_of_the_network_alone(model: FourMModel) -> None:
    (row,) = model.embed([Sample({"metadata": Metadata({"brightness": 0.5})})], [TOWERS_SPACE])[TOWERS_SPACE]
    looks, words = row[:48], row[48:-8]
    assert not looks.any()
    assert words.any()


def test_a_stored_photo_has_all_blocks_and_its_captions_words(model: FourMModel) -> None:
    photo, told = model.embed_gallery([Sample({"rgb": RED}), Sample({"rgb": RED, "caption": "a car"})], [TOWERS_SPACE])[
        TOWERS_SPACE
    ]
    for block in np.split(photo, np.cumsum(BLOCKS[:3])):
        assert np.linalg.norm(block) == pytest.approx(0.5, abs=1e-3)
    assert photo[:48] @ told[:48] / np.linalg.norm(told[:48]) / np.linalg.norm(photo[:48]) == pytest.approx(
        1.0, abs=1e-4
    )
    assert np.abs(photo[48:] - told[48:]).max() > 1e-3


def test_without_the_joint_space_towers_are_not_asked(model: FourMModel) -> None:
    assert model.embed([Sample({"rgb": GREY})], [VISUAL]).keys() == {VISUAL}
