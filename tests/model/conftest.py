"""A small 4M network with modalities of its own: every embedding class, two global targets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from anyseek.model.generation.state import ModalityState, image_target, input_state, sequence_target
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.tokens import ModalityInput, ModalityTarget
from anyseek.model.network.transformer import FourM
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import Model
from tests.model.generating import IDS
from tests.model.pulled import HOME, or_skip
from tests.random_bundle import write_random_bundle

OWN_MODALITIES = {
    "map": {"kind": "pixels", "grid": [3, 3], "patch": 1, "channels": 8},
    "picture": {"kind": "pixels", "grid": [2, 2], "patch": 4},
    "states": {"kind": "sequence_embedding", "width": 6, "max_length": 12},
    "palette": {"kind": "sequence", "vocabulary": 40, "max_length": 10},
    "tok_visual": {"kind": "image_tokens", "grid": [4, 4], "vocabulary": 24, "learned_positions": True},
    "tok_semantic": {"kind": "image_tokens", "grid": [4, 4], "vocabulary": 20, "learned_positions": True},
}

SMALL_CONFIG: dict[str, Any] = {
    "domains_in": ["map", "picture", "states", "palette", "tok_visual"],
    "domains_out": ["palette", "tok_visual", "tok_semantic"],
    "image_size": 224,
    "patch_size": 16,
    "dim": 16,
    "encoder_depth": 2,
    "decoder_depth": 2,
    "num_heads": 2,
    "act_layer": "SiLU",
    "gated_mlp": True,
    "norm_bias": False,
    "modalities": OWN_MODALITIES,
}


@pytest.fixture(scope="session")
def tiny() -> Model:
    """The bundled model; skips where its encoders were not pulled."""
    with or_skip():
        return load_embedder("4m-tiny", HOME)


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle with random weights that takes everything; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("bundles") / "random"
    write_random_bundle(folder)
    return folder


@pytest.fixture
def small_config() -> FourMConfig:
    return FourMConfig.from_values(SMALL_CONFIG)


@pytest.fixture
def make_fourm() -> Callable[..., FourM]:
    """A network of the small config with some values changed, initialised from seed 0."""

    def make(**changes: object) -> FourM:
        network = FourM(FourMConfig.from_values(SMALL_CONFIG | changes))
        network.initialise(seed=0)
        return network.eval()

    return make


@pytest.fixture
def small_inputs() -> dict[str, ModalityInput]:
    """A batch of three rows that use different numbers of tokens."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[0, :4], mask[1, :2] = False, False
    map_mask = torch.zeros(3, 9, dtype=torch.bool)
    map_mask[1, 4:] = True
    return {
        "map": ModalityInput(torch.randn(3, 8, 3, 3, generator=generator), map_mask),
        "states": ModalityInput(torch.randn(3, 5, 6, generator=generator), mask),
        "palette": ModalityInput(torch.randint(0, 40, (3, 5), generator=generator), mask.flip(1)),
    }


@pytest.fixture
def small_targets() -> dict[str, ModalityTarget]:
    """All of `tok_visual`, some of `tok_semantic`, a sequence of 4, 3 and no targets."""
    generator = torch.Generator().manual_seed(2)
    sequence = torch.ones(3, 6, dtype=torch.bool)
    sequence[0, 1:5], sequence[1, 0:3] = False, False
    some = torch.rand(3, 16, generator=generator) < 0.5
    return {
        "palette": ModalityTarget(torch.randint(0, 40, (3, 6), generator=generator), sequence),
        "tok_visual": ModalityTarget(
            torch.randint(0, 24, (3, 16), generator=generator), torch.zeros(3, 16, dtype=torch.bool)
        ),
        "tok_semantic": ModalityTarget(torch.randint(0, 20, (3, 16), generator=generator), some),
    }


@pytest.fixture
def network(make_fourm: Callable[..., FourM]) -> FourM:
    """Initialised weights make all logits alike; larger ones tell tokens apart."""
    made = make_fourm()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.5, generator=generator)
    return made


@pytest.fixture
def state(small_inputs: dict[str, ModalityInput]) -> dict[str, ModalityState]:
    """Three rows: a map and states are given, two images and a sequence are to be decoded."""
    inputs = {key: input_state(small_inputs[key].values, small_inputs[key].mask) for key in ("map", "states")}
    return {
        **inputs,
        "palette": sequence_target(3, 8, IDS),
        "tok_visual": image_target(3, 16),
        "tok_semantic": image_target(3, 16),
    }
