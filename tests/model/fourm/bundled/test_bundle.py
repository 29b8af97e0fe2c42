"""Reading a bundle: whole ones are read, and of others it is said which file is wrong and how. Needs no encoders."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anyseek.model.checkpoints.files import save_checkpoint
from anyseek.model.checkpoints.quantized import SCALE
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from anyseek.model.fourm.bundled.bundle import (
    CONSTANTS,
    MANIFEST,
    NETWORK,
    PROJECTION,
    SHORTCUTS,
    VOCABULARY,
    fingerprint,
    load_bundle,
)
from anyseek.model.fourm.bundled.layout import INPUTS, SEMANTIC, VISUAL
from anyseek.model.fourm.bundled.loading import target_forms
from anyseek.model.seam import Fusion
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_vqvae import ImageDecoder, ImageVQVAE
from anyseek.model.training.pretraining.plan import make_vocabulary, save_vocabulary
from tests.random_bundle import random_image_tokenizer, write_manifest, write_random_bundle

FILES = (NETWORK, PROJECTION, SHORTCUTS, CONSTANTS, VOCABULARY, f"{VISUAL}.safetensors", f"{SEMANTIC}.safetensors")


@pytest.fixture
def copied(random_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(random_bundle, tmp_path / "copy")


def _change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest; its fingerprint is that of what it says then."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    manifest["fingerprint"] = fingerprint(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_bundle_says_what_its_network_takes_and_predicts(random_bundle: Path) -> None:
    bundle = load_bundle("random", random_bundle)
    assert bundle.inputs == tuple(INPUTS)
    assert list(target_forms(bundle)) == ["caption", "color_palette", "metadata"]
    assert list(bundle.spaces) == [VISUAL, SEMANTIC]
    assert bundle.fusion == Fusion.LATE
    assert bundle.default_spaces["caption"] == SEMANTIC
    for name, space in bundle.spaces.items():
        assert (space.name, space.fingerprint) == (name, bundle.fingerprint)
        assert space.query_means.keys() == INPUTS.keys()
        for means in (space.gallery_prior[np.newaxis], *space.query_means.values()):
            assert means.ndim == 2
            assert means.shape[1] == space.dimension
            assert means.dtype == np.float32
    for network in (bundle.network, bundle.projection, bundle.shortcuts, *bundle.tokenizers.values()):
        assert {tensor.dtype for tensor in network.state_dict().values() if tensor.is_floating_point()} == {
            torch.float32
        }
        assert not network.training or network is bundle.projection


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "dense"
    write_random_bundle(folder, dense=("depth", "semseg"))
    return folder


def test_what_is_predicted_as_images_is_among_the_targets(dense: Path) -> None:
    bundle = load_bundle("dense", dense)
    assert list(target_forms(bundle)) == ["caption", "color_palette", "depth", "semseg", "metadata"]
    assert bundle.inputs == tuple(INPUTS)
    assert list(bundle.dense) == ["depth", "semseg"]
    assert not any(name.startswith("encoder") for name in load_file(dense / "depth.safetensors"))


def test_a_decoder_that_is_not_there_or_of_other_tokens_is_named(dense: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(dense, tmp_path / "copy")
    (copied / "semseg.safetensors").unlink()
    write_manifest(copied)
    with pytest.raises(WeightsCorrupt, match=r"lists no file semseg\.safetensors"):
        load_bundle("copy", copied)
    other = random_image_tokenizer("semseg")
    grid = {"image_size": 2 * other.config.image_size, "patch_size": 2 * other.config.patch_size}
    other.config = replace(other.config, **grid)  # as many tokens, each of more pixels than the file has numbers for
    save_checkpoint(ImageDecoder(other), copied / "semseg.safetensors")
    write_manifest(copied)
    bundle = load_bundle("copy", copied)
    with pytest.raises(CheckpointMismatch, match=r"semseg\.safetensors does not fit its network"):
        bundle.dense["semseg"].decoder()
    tokenizer = TokenizerConfig.from_values(asdict(other.config) | {"codebook_size": 16})
    save_checkpoint(ImageDecoder(ImageVQVAE(tokenizer)), copied / "semseg.safetensors")
    write_manifest(copied)
    with pytest.raises(WeightsCorrupt, match="makes 4 x 4 tokens of 16 codes; the network's tok_semseg has 4 x 4 of"):
        load_bundle("copy", copied)


def test_most_of_it_is_stored_as_int8(random_bundle: Path) -> None:
    for file in (NETWORK, PROJECTION, SHORTCUTS, f"{VISUAL}.safetensors"):
        assert any(name.endswith(SCALE) for name in load_file(random_bundle / file)), file


@pytest.mark.parametrize("file", FILES)
def test_a_changed_file_and_a_missing_one_are_named(copied: Path, file: str) -> None:
    data = bytearray((copied / file).read_bytes())
    data[-1] ^= 1
    (copied / file).write_bytes(data)
    with pytest.raises(WeightsCorrupt, match=f"{file} does not have the checksum"):
        load_bundle("copy", copied)
    (copied / file).unlink()
    with pytest.raises(WeightsMissing, match=f"{file} is not in"):
        load_bundle("copy", copied)


@pytest.mark.parametrize("file", sorted(FILES))
def test_a_file_that_the_manifest_does_not_list_is_named(copied: Path, file: str) -> None:
    _change_manifest(copied, lambda manifest: manifest["files"].pop(file))
    with pytest.raises(WeightsCorrupt, match=f"lists no file {file}"):
        load_bundle("copy", copied)


def test_another_choice_of_spaces_needs_another_fingerprint(copied: Path) -> None:
    manifest = json.loads((copied / MANIFEST).read_text())
    manifest["default_spaces"]["color_palette"] = SEMANTIC
    (copied / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(WeightsCorrupt, match="fingerprint"):
        load_bundle("copy", copied)


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "not (the|a) manifest"), ("{}", "not (the|a) manifest"), ('{"files": 1}', "not (the|a) manifest")],
)
def test_a_broken_manifest_is_refused(copied: Path, content: str, says: str) -> None:
    (copied / MANIFEST).write_text(content)
    with pytest.raises(WeightsCorrupt, match=says):
        load_bundle("copy", copied)
    (copied / MANIFEST).unlink()
    with pytest.raises(WeightsMissing, match=MANIFEST):
        load_bundle("copy", copied)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("fusion", "early", "fusion is 'early'; it is one of joint, late"),
        ("fusion", ["late"], "fusion is ['late']; it is one of joint, late"),
        ("gallery", {VISUAL: "guessed", SEMANTIC: "predicted"}, "the gallery of visual_global is 'guessed'; it is one"),
        ("default_spaces", {"rgb": "smell"}, "the default space of rgb is 'smell'; it is one of visual_global, sem"),
    ],
)
def test_a_choice_that_there_is_not_is_named(copied: Path, key: str, value: object, says: str) -> None:
    _change_manifest(copied, lambda manifest: manifest.update({key: value}))
    with pytest.raises(WeightsCorrupt, match=re.escape(says)) as told:
        load_bundle("copy", copied)
    assert told.value.code == "weights-corrupt"


def test_a_manifest_says_how_parts_of_queries_are_fused(copied: Path) -> None:
    _change_manifest(copied, lambda manifest: manifest.update(fusion="joint"))
    assert load_bundle("copy", copied).fusion == Fusion.JOINT
    _change_manifest(copied, lambda manifest: manifest.pop("fusion"))
    assert load_bundle("copy", copied).fusion == Fusion.LATE


Tensors = dict[str, torch.Tensor]


def _without(lost: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if name != lost}


def _of_pictures(tensors: Tensors) -> Tensors:
    return {name.replace("maps.rgb_", "maps.picture_map_"): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("file", "change", "error", "says"),
    [
        (CONSTANTS, _without(f"{SEMANTIC}/depth"), WeightsCorrupt, "lacks the mean semantic_global/depth"),
        (SHORTCUTS, _of_pictures, WeightsCorrupt, "has shortcuts from .*picture_map"),
        (SHORTCUTS, _without(f"maps.rgb_to_{VISUAL}.mean"), CheckpointMismatch, r"maps\.rgb_to_visual_global\.mean"),
    ],
)
def test_other_tensors_are_refused(
    copied: Path, file: str, change: Callable[[Tensors], Tensors], error: type[Exception], says: str
) -> None:
    save_file(change(load_file(copied / file)), copied / file)
    write_manifest(copied)
    with pytest.raises(error, match=says):
        load_bundle("copy", copied)


def test_an_input_without_a_default_space_is_refused(copied: Path) -> None:
    _change_manifest(copied, lambda manifest: manifest["default_spaces"].pop("metadata"))
    with pytest.raises(WeightsCorrupt, match="names no default space for metadata"):
        load_bundle("copy", copied)


def test_a_vocabulary_that_the_network_does_not_know_is_refused(copied: Path) -> None:
    save_vocabulary(make_vocabulary([f"word{n}" for n in range(200)], words=200), copied / VOCABULARY)
    write_manifest(copied)
    with pytest.raises(WeightsCorrupt, match="the network knows"):
        load_bundle("copy", copied)
