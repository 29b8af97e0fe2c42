from pathlib import Path

import pytest
import torch

from anyseek.model.checkpoints.files import load_vqvae
from anyseek.model.network.config import EmbeddingKind, FourMConfig, ModalityConfig
from anyseek.model.network.tokens import ModalityInput, ModalityTarget
from anyseek.model.network.transformer import FourM, Losses
from anyseek.model.training.pretraining.batches import Batch
from anyseek.model.training.pretraining.config import LossKind
from anyseek.model.training.pretraining.objective import Objective
from anyseek.model.training.run.config import Precision
from anyseek.model.training.run.loop import Parts
from tests.model.training.shapes import write_vector_tokenizer

CPU = torch.device("cpu")


def _objective(kind: LossKind = LossKind.MOD, precision: Precision = Precision.FLOAT32, **weights: float) -> Objective:
    return Objective(kind, precision, {"a": 1.0, "b": 1.0, **weights}, {}, CPU)


def _losses() -> Losses:
    return Losses({"a": torch.tensor(2.0), "b": torch.tensor(5.0)}, {"a": 30, "b": 10})


def _parts() -> Parts:
    losses = _losses()
    values = {f"loss/{key}": loss for key, loss in losses.per_modality.items()}
    return Parts(values, {f"loss/{key}": number for key, number in losses.elements.items()})


def test_without_weights_the_loss_is_the_networks_own() -> None:
    losses = _losses()
    assert _objective().total(_parts()) == losses.mean_over_modalities()
    assert _objective(LossKind.TOKEN).total(_parts()) == losses.mean_over_tokens()


def test_weights_scale_each_modality() -> None:
    assert _objective(b=0.5).total(_parts()).item() == pytest.approx((2 + 2.5) / 2)
    assert _objective(LossKind.TOKEN, b=0.0).total(_parts()).item() == pytest.approx(2 * 30 / 40)


def test_vectors_become_the_codes_of_their_tokenizer(tmp_path: Path) -> None:
    write_vector_tokenizer(tmp_path / "t.safetensors")
    tokenizer = load_vqvae(tmp_path / "t.safetensors")
    objective = Objective(LossKind.MOD, Precision.FLOAT32, {"g": 1.0}, {"g": tokenizer}, CPU)
    vectors = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 4, dtype=torch.bool)
    batch = Batch({"g": ModalityInput(vectors, mask)}, {"g": ModalityTarget(vectors, mask)}, {"g": vectors}, 3, 0, 24)
    prepared = objective.prepared(batch)
    torch.testing.assert_close(prepared.inputs["g"].values, tokenizer.encode(vectors))
    torch.testing.assert_close(prepared.targets["g"].ids, tokenizer.encode(vectors))


@pytest.mark.parametrize("precision", list(Precision))
def test_maps_of_half_precision_train_in_either_precision(precision: Precision) -> None:
    rows = {
        "m": ModalityConfig("m", EmbeddingKind.PIXELS, (2, 2), 1, channels=3),
        "a": ModalityConfig("a", EmbeddingKind.IMAGE_TOKENS, (2, 2), vocabulary=5),
    }
    network = FourM(FourMConfig(("m",), ("a",), dim=16, encoder_depth=1, decoder_depth=1, num_heads=2, modalities=rows))
    network.initialise(0)
    maps = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0)).half()
    used = torch.zeros(2, 4, dtype=torch.bool)
    ids = torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1]])
    batch = Batch({"m": ModalityInput(maps, used)}, {"a": ModalityTarget(ids, used)}, {}, 2, 0, 16)
    objective = Objective(LossKind.MOD, precision, {"a": 1.0}, {}, CPU)
    losses = objective.losses(network, objective.prepared(batch))
    assert losses.values["loss/a"].dtype == torch.float32
    objective.total(losses).backward()  # type: ignore[no-untyped-call]
    assert network.mask_token.grad is not None
