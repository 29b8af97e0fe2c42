import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from anyseek.model.checkpoints.files import save_checkpoint
from anyseek.model.fourm.bundled.bundle import load_bundle
from anyseek.model.fourm.bundled.dense_decoder import FILE as DECODER
from anyseek.model.fourm.bundled.layout import SEMANTIC, VISUAL
from anyseek.model.fourm.bundled.loading import target_forms
from anyseek.model.seam import Fusion
from anyseek.model.training.pretraining.shortcuts import Bank
from anyseek.model.training.query_means import Rows, constants, default_spaces, reciprocal_ranks
from anyseek.model.training.release import add_file, release
from anyseek.model.training.run.errors import TrainingConfigInvalid, TrainingDataInvalid
from tests.model.training.runs import train, write_config
from tests.model.training.shapes import settings, write_data, write_vector_tokenizer
from tests.random_bundle import random_decoder, random_image_tokenizer, save_decoder

INPUTS_OF_RUN = ("rgb", "caption", "color_palette", "metadata")
BUNDLE = Path(__file__).parents[3] / "model" / "weights" / "4m-tiny"


def _config(folder: Path) -> dict[str, Any]:
    """Shapes under the names of bundled networks: maps as pictures, states as captions, palettes as they are."""
    write_data(folder / "shapes")
    for name, width in ((VISUAL, 6), (SEMANTIC, 5)):
        write_vector_tokenizer(folder / f"{name}.safetensors", width)
    config = settings(folder / "shapes")
    map_, states = {"kind": "map", "field": "features", "grid": [4, 4], "channels": 3}, {"kind": "states", "width": 6}
    config["modalities"] = {
        "picture_map": {**map_, "input": [1, 0.5]},
        "caption_states": {**states, "field": "states", "lengths": "state_lengths", "max_length": 5, "input": [0, 1]},
        "color_palette": {"kind": "text", "input": [0, 0.5], "target": 1, "max_length": 12},
        "metadata": {"kind": "text", "input": [0, 0.5], "target": 1, "max_length": 12},
        VISUAL: {"kind": "vector", "field": "shape_global", "tokenizer": str(folder / f"{VISUAL}.safetensors")},
        SEMANTIC: {"kind": "vector", "field": "said_global", "tokenizer": str(folder / f"{SEMANTIC}.safetensors")},
    }
    own = {"picture_map": "rgb_pooled", "caption_states": "caption_vectors"}
    config["contrast"] = {"targets": [VISUAL, SEMANTIC], "negatives": 16, "own": own, "rank": 4}
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of ten steps."""
    folder = tmp_path_factory.mktemp("release")
    config = {**_config(folder), "total_tokens": 10 * 8 * 48}
    assert train(write_config(config, folder), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def base(run: Path) -> Path:
    """The bundle of the run, with a decoder of images; nobody may change it."""
    release(run, run.parent / "base", BUNDLE, samples=20)
    save_decoder(random_decoder(62), run.parent / DECODER)
    add_file(run.parent / DECODER, run.parent / "base")
    return run.parent / "base"


def test_a_run_becomes_a_bundle(base: Path) -> None:
    bundle = load_bundle("base", base)
    assert bundle.inputs == INPUTS_OF_RUN
    assert bundle.fusion == Fusion.LATE
    assert bundle.gallery == {VISUAL: "exact", SEMANTIC: "predicted"}
    assert set(bundle.default_spaces) == set(INPUTS_OF_RUN)
    assert bundle.shortcuts.inputs == {"rgb": 6, "caption": 5}
    assert {name: space.dimension for name, space in bundle.spaces.items()} == {VISUAL: 6, SEMANTIC: 5}
    for space in bundle.spaces.values():
        kinds = {modality: len(means) for modality, means in space.query_means.items()}
        assert kinds == {"rgb": 1, "caption": 1, "color_palette": 1, "metadata": 2}, "a few fields, and all of them"
        assert all(0 < (means**2).sum() <= len(means) for means in space.query_means.values())
    assert bundle.text.decode(bundle.text.encode("v1=1 v0=7")) == "v1=1 v0=7"
    assert (base / "projection.safetensors").read_bytes() == (BUNDLE / "projection.safetensors").read_bytes()


def test_a_bundle_can_be_made_again_in_its_place(run: Path, base: Path, tmp_path: Path) -> None:
    again = shutil.copytree(base, tmp_path / "base")
    release(run, again, again, samples=20)
    before, after = load_bundle("base", base), load_bundle("base", again)
    assert after.default_spaces == before.default_spaces
    for found, expected in zip(after.network.parameters(), before.network.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


_RELEASE = """
import sys
from pathlib import Path
from anyseek.model.training.release import release
run, to, bundle = map(Path, sys.argv[1:])
release(run, to, bundle, samples=20)
"""


@pytest.mark.slow
def test_the_same_run_makes_the_same_bytes_in_every_process(run: Path, tmp_path: Path) -> None:
    made = []
    for seed in ("1", "2"):
        to = tmp_path / seed / "shapes"
        to.parent.mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", _RELEASE, run, to, BUNDLE], env=environment, check=True)
        made.append({path.name: path.read_bytes() for path in to.iterdir()})
    assert made[0].keys() == made[1].keys()
    assert [name for name in made[0] if made[0][name] != made[1][name]] == []


def _begun_with(base: Path, run: Path) -> dict[str, Any]:
    """Two steps of the run's config, begun with the bundle."""
    config: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())
    vocabulary = {"vocabulary": str(base / "vocabulary.json")}
    return config | {"start": str(base), "total_tokens": 2 * 8 * 48, "text": vocabulary}


def test_what_the_data_lacks_stays_as_it_was_in_the_bundle_to_begin_with(run: Path, base: Path, tmp_path: Path) -> None:
    config = _begun_with(base, run)
    config["modalities"]["caption_states"] |= {"field": "unheard", "lengths": "unheard_lengths"}
    del config["contrast"]["own"]["caption_states"]
    assert train(write_config(config, tmp_path), tmp_path / "run")
    release(tmp_path / "run", tmp_path / "model", base, samples=20)
    before, found = load_bundle("base", base), load_bundle("model", tmp_path / "model")
    assert found.inputs == before.inputs
    assert found.default_spaces["caption"] == before.default_spaces["caption"]
    own = torch.nn.functional.normalize(torch.randn(2, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    for name, space in before.spaces.items():
        np.testing.assert_array_equal(found.spaces[name].query_means["caption"], space.query_means["caption"])
        assert not np.array_equal(found.spaces[name].query_means["rgb"], space.query_means["rgb"])
        torch.testing.assert_close(
            found.shortcuts({"caption": own}, name), before.shortcuts({"caption": own}, name), rtol=0, atol=0.02
        )


def test_a_run_that_begins_with_a_bundle_may_predict_images_too(run: Path, base: Path, tmp_path: Path) -> None:
    tokenizer = random_image_tokenizer("depth", codes=27)
    save_checkpoint(tokenizer, tmp_path / "tokenizer.safetensors")
    row = {"kind": "tokens", "field": "tok_rgb", "grid": [4, 4], "vocabulary": 27, "target": 1}
    config = _begun_with(base, run)
    config["modalities"]["tok_depth"] = {**row, "tokenizer": str(tmp_path / "tokenizer.safetensors")}
    said: list[str] = []
    assert train(write_config(config, tmp_path), tmp_path / "run", say=said.append)
    (table,) = (line for line in said if line.startswith("the network begins with"))
    new = [line.split()[-2:] for line in table.splitlines() if line.startswith("  new")]
    assert new == [["decoder_embeddings.tok_depth", "(2)"]]
    release(tmp_path / "run", tmp_path / "model", base, samples=20)
    bundle = load_bundle("model", tmp_path / "model")
    assert set(target_forms(bundle)) == {"depth", "color_palette", "metadata"}
    assert bundle.decoder.best_input("depth", {"rgb", "canny_edge"}) == "canny_edge", "it is that of the weights before"
    tokens = torch.arange(16).view(1, 4, 4)
    torch.testing.assert_close(
        bundle.dense["depth"].decoder().decode_tokens(tokens), tokenizer.decode_tokens(tokens), rtol=0.1, atol=0.05
    )
    release(tmp_path / "run", tmp_path / "model", base, samples=20, without=["depth"])
    bundle = load_bundle("model", tmp_path / "model")
    assert (bundle.dense, "tok_depth" in bundle.network.config.domains_out) == ({}, False)
    assert not (tmp_path / "model" / "depth.safetensors").exists()


def test_images_without_a_tokenizer_are_refused(run: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["modalities"]["tok_rgb"] = {"kind": "tokens", "target": 1, "grid": [4, 4], "vocabulary": 27}
    write_config(config, tmp_path)
    with pytest.raises(TrainingConfigInvalid, match="tok_rgb has no tokenizer; a bundle needs one to make images"):
        release(tmp_path, tmp_path / "model", BUNDLE, samples=20)
    assert not (tmp_path / "model").exists()


def test_runs_that_are_no_bundle_are_refused(run: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["modalities"]["smell_map"] = config["modalities"].pop("picture_map")
    config["contrast"]["own"] = {}
    write_config(config, tmp_path)
    with pytest.raises(TrainingConfigInvalid, match="the run's network takes smell_map"):
        release(tmp_path, tmp_path / "to", BUNDLE, samples=20)
    config["contrast"]["targets"] = [VISUAL]
    config["modalities"][SEMANTIC]["target"] = 1
    write_config(config, tmp_path)
    with pytest.raises(TrainingConfigInvalid, match="a run with contrast of visual_global and semantic_global"):
        release(tmp_path, tmp_path / "to", BUNDLE, samples=20)
    assert not (tmp_path / "to").exists()


def _rows(numbers: list[int], visual: torch.Tensor) -> Rows:
    vectors = {VISUAL: visual, SEMANTIC: visual.flip(1)}
    return Rows(numbers, vectors, vectors)


def test_queries_are_ranked_among_the_pictures_of_their_folder() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    gallery, mean = _rows([0, 1, 2, 3, 4, 5], vectors), vectors.mean(dim=0)

    def ranks(numbers: list[int], places: list[int]) -> list[float]:
        return reciprocal_ranks(gallery, _rows(numbers, vectors[places]), VISUAL, mean, lambda row: np.array([row]))

    assert ranks([4, 2, 9], [4, 2, 0]) == [1.0] * 2  # 9 is not there
    assert max(ranks([0, 1], [1, 0])) < 1.0
    assert ranks([9], [0]) == []


def test_a_picture_is_not_counted_where_another_is_wanted() -> None:
    vectors = torch.eye(8)[[0, 0, 1, 2]] + 0.1 * torch.eye(8)[[3, 4, 5, 6]]
    gallery = _rows([0, 1, 2, 3], torch.nn.functional.normalize(vectors, dim=1))
    found = reciprocal_ranks(gallery, gallery, VISUAL, torch.zeros(8), lambda row: np.array([1 - row][row > 1 :]))
    assert found == [1.0, 1.0]  # 0 and 1 find each other, 2 and 3 have nobody to find
    found = reciprocal_ranks(gallery, gallery, VISUAL, torch.zeros(8), lambda row: np.array([3][row > 0 :]))
    assert found == [pytest.approx(1 / 3)]


def test_a_modality_takes_the_space_in_which_it_finds_more() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(40, 8, generator=generator), dim=1)
    noise = torch.nn.functional.normalize(torch.randn(40, 8, generator=generator), dim=1)
    gallery = Rows(range(40), {VISUAL: vectors, SEMANTIC: vectors}, {VISUAL: vectors, SEMANTIC: vectors})
    asked = Rows(range(40), {VISUAL: noise, SEMANTIC: vectors}, gallery.exact)
    galleries = [gallery]
    queries = {"rgb": galleries, "depth": [asked]}
    bank = Bank({}, np.arange(40), np.full(40, -1), {})
    assert default_spaces(galleries, queries, bank, lambda line: None) == {"rgb": VISUAL, "depth": SEMANTIC}
    means = constants(galleries, queries)
    torch.testing.assert_close(means[f"{VISUAL}/depth"], noise.mean(dim=0)[None])
    with pytest.raises(TrainingDataInvalid, match="no validation sample shows depth"):
        constants(galleries, {"depth": [Rows([], {}, {})]})
