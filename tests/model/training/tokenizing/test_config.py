"""Config files: what they say, what is usual, and how what is wrong is refused. The configs in the repository."""

import gzip
import json
import re
from pathlib import Path

import pytest
import torch

from anyseek.model.tokenizers.build import build_tokenizer
from anyseek.model.tokenizers.inputs import InputKind
from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.tokenizing.config import Reconstruction, read_config
from tests.model.training.runs import Written
from tests.model.training.tokenizing.scenes import settings

_ROOT = Path(__file__).parents[4]
_CONFIGS = _ROOT / "configs" / "tokenizers"
_KEYS = _ROOT.parent / "shared" / "golden" / "keys"

# Tensors and numbers in each published tokenizer, buffers and positions included where a file has them.
_PUBLISHED = {
    "rgb_16k_224-448": 604,
    "depth_8k_224-448": 604,
    "normal_8k_224-448": 604,
    "edge_8k_224-512": 604,
    "semseg_4k_224-448": 314,
    "CLIP-B16_8k_224-448": 313,
    "DINOv2-B14_8k_224-448": 313,
    "ImageBind-H14_8k_224-448": 313,
    "DINOv2-B14-global_8k_16_224": 87,
    "ImageBind-H14-global_8k_16_224": 87,
    "human-poses_1k_8": 87,
    "sam-instance_1k_64": 331,
}
_LOSSES = {
    "rgb_16k_224-448": "mse",
    "normal_8k_224-448": "mse",
    "semseg_4k_224-448": "cross_entropy",
    "sam-instance_1k_64": "binary",
    "DINOv2-B14-global_8k_16_224": "cosine",
    "ImageBind-H14-global_8k_16_224": "cosine",
}


def _shapes(name: str) -> dict[str, list[int]]:
    config = read_config(_CONFIGS / "published" / f"{name}.yaml")
    with torch.device("meta"):
        network = build_tokenizer(config.tokenizer)
    return {key: list(tensor.shape) for key, tensor in network.state_dict().items()}


def test_every_published_tokenizer_has_a_config() -> None:
    assert {path.stem for path in (_CONFIGS / "published").glob("*.yaml")} == _PUBLISHED.keys()


@pytest.mark.parametrize("name", _PUBLISHED)
def test_a_published_config_builds_the_published_tensors(name: str) -> None:
    shapes = _shapes(name)
    assert len(shapes) == _PUBLISHED[name]
    if (_KEYS / f"{name}.json.gz").is_file():
        published = json.loads(gzip.decompress((_KEYS / f"{name}.json.gz").read_bytes()))["keys"]
        assert shapes == {key: row["shape"] for key, row in published.items()}


@pytest.mark.parametrize("name", _PUBLISHED)
def test_a_published_config_has_the_published_constants(name: str) -> None:
    config = read_config(_CONFIGS / "published" / f"{name}.yaml")
    assert config.loss.reconstruction == _LOSSES.get(name, "smooth_l1")
    assert (config.loss.commitment, config.codes.decay, config.codes.dead_share) == (1.0, 0.99, 1 / 32)
    optimiser = config.optimiser
    assert (optimiser.base_rate, optimiser.betas) == (1e-4, (0.9, 0.99))
    assert (optimiser.weight_decay, optimiser.clip) == (0.05, 1)
    assert config.average_decay == (0.9999 if config.tokenizer.is_diffusion else 0.99)


@pytest.mark.parametrize("path", sorted(_CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_other_configs_build_networks(path: Path) -> None:
    config = read_config(path)
    with torch.device("meta"):
        build_tokenizer(config.tokenizer)
    assert config.steps > 50


def test_what_is_not_said_is_usual(scenes: Path, written: Written) -> None:
    config = settings(scenes)
    for name in ("evaluation", "run", "precision", "average_decay", "seed"):
        del config[name]
    found = read_config(written(config))
    assert (found.kind, found.modality.sizes) == (InputKind.PICTURE, (16,))
    assert found.loss.reconstruction is Reconstruction.MSE
    assert found.evaluation is None
    assert found.start is None
    assert found.steps == 20
    assert found.rate_at(0) == pytest.approx(0.1 * 8 / 256 / 2)
    assert found.rate_at(1) == pytest.approx(0.1 * 8 / 256)
    assert found.rate_at(19) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("section", "key", "value", "says"),
    [
        ("tokenizer", "n_chanels", 3, "tokenizer has no setting 'n_chanels'; did you mean 'n_channels'?"),
        ("tokenizer", "undo_std", True, "tokenizer.undo_std cannot be"),
        ("modality", "field", "depth", "a tokenizer of 3 channels does not take 'depth'"),
        ("modality", "field", ["rgb", "line_drawing"], "does not take 'line_drawing'"),
        ("modality", "sizes", [16, 18], "modality.sizes must be multiples of 4, not 18"),
        ("modality", "sizes", 40, "multiples of 8 and 32, not 40"),
        ("loss", "reconstruction", "binary", "of a picture must be one of smooth_l1, mse, not 'binary'"),
        ("codes", "decay", 1.5, "codes.decay must be less than or equal to 1, not 1.5"),
        ("evaluation", "every", 0, "evaluation.every must be greater than or equal to 1, not 0"),
        ("optimiser", "warm_up_tokens", 5, "no setting 'warm_up_tokens'; did you mean 'warm_up_samples'?"),
        ("run", "activation_checkpointing", False, "run has no setting 'activation_checkpointing'"),
        ("run", "workers", 257, "run.workers must be less than or equal to 256, not 257"),
    ],
)
def test_what_is_wrong_is_named(
    scenes: Path, written: Written, section: str, key: str, value: object, says: str
) -> None:
    config = settings(scenes, "diffusion" if value == 40 else "picture")
    config.setdefault(section, {})[key] = value
    with pytest.raises(TrainingConfigInvalid, match=re.escape(says)):
        read_config(written(config))
