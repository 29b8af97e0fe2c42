from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.checkpoints.files import load_vqvae
from anyseek.model.network.config import EmbeddingKind, FourMConfig, ModalityConfig
from anyseek.model.network.tokens import ModalityInput, ModalityTarget
from anyseek.model.network.transformer import FourM
from anyseek.model.training.pretraining.batches import Batch, BatchMaker
from anyseek.model.training.pretraining.config import LossKind
from anyseek.model.training.pretraining.objective import Contrast, Objective
from anyseek.model.training.pretraining.shortcuts import Bank
from anyseek.model.training.run.config import Precision
from anyseek.model.training.run.loop import Parts, Trainer
from tests.model.training.runs import prepared, write_config
from tests.model.training.shapes import settings, with_contrast, write_vector_tokenizer

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("kind", "weight", "expected"),
    [
        (LossKind.MOD, 1.0, (2 + 5) / 2),
        (LossKind.TOKEN, 1.0, (2 * 30 + 5 * 10) / 40),
        (LossKind.MOD, 0.5, (2 + 2.5) / 2),
        (LossKind.TOKEN, 0.0, 2 * 30 / 40),
    ],
)
def test_losses_are_means_over_modalities_or_tokens_by_weight(kind: LossKind, weight: float, expected: float) -> None:
    parts = Parts({"loss/a": torch.tensor(2.0), "loss/b": torch.tensor(5.0)}, {"loss/a": 30, "loss/b": 10})
    objective = Objective(kind, Precision.FLOAT32, {"a": 1.0, "b": weight}, {}, CPU)
    assert objective.total(parts).item() == pytest.approx(expected)


def test_vectors_become_the_codes_of_their_tokenizer(tmp_path: Path) -> None:
    write_vector_tokenizer(tmp_path / "t.safetensors")
    tokenizer = load_vqvae(tmp_path / "t.safetensors")
    objective = Objective(LossKind.MOD, Precision.FLOAT32, {"g": 1.0}, {"g": tokenizer}, CPU)
    vectors = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 4, dtype=torch.bool)
    batch = Batch({"g": ModalityInput(vectors, mask)}, {"g": ModalityTarget(vectors, mask)}, {"g": vectors}, 3, 0, 24)
    prepared = objective.prepare(batch)
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
    losses = objective.losses(network, objective.prepare(batch))
    assert losses.values["loss/a"].dtype == torch.float32
    objective.total(losses).backward()
    assert network.mask_token.grad is not None


TARGET = "shape_global"


@pytest.fixture(scope="module")
def trainer(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer[FourM, Objective]:
    folder = tmp_path_factory.mktemp("contrast")
    return prepared(write_config(with_contrast(settings(data), folder), folder), folder / "run")


@pytest.fixture(scope="module")
def contrast(trainer: Trainer[FourM, Objective]) -> Contrast:
    assert trainer.objective.contrast is not None
    return trainer.objective.contrast


@pytest.fixture(scope="module")
def bank(trainer: Trainer[FourM, Objective]) -> Bank:
    assert trainer.objective.bank is not None
    return trainer.objective.bank


@pytest.fixture
def share(contrast: Contrast, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how often a sample is asked for another's vectors."""
    return lambda value: monkeypatch.setattr(
        contrast, "config", contrast.config.model_copy(update={"other_share": value})
    )


def _batch(trainer: Trainer, number: int = 0) -> Batch:
    source = replace(trainer.source, size=16)
    return trainer.objective.prepare(BatchMaker(source).training_batch(number))


def _logits(trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
    with torch.no_grad():
        return trainer.objective.full_logits(trainer.network, trainer.network.encode(batch.inputs), (TARGET,))


def test_a_batch_says_whose_samples_it_is_made_of(trainer: Trainer, bank: Bank) -> None:
    for number in range(3):
        batch = _batch(trainer, number)
        assert batch.number == 16 * number
        assert set(batch.own) <= {"rgb", "states"}
        shown = (~batch.inputs["rgb"].mask).any(dim=1)
        torch.testing.assert_close(batch.own["rgb"].norm(dim=1), shown.float())
    whole, found = BatchMaker(trainer.source).whole_batch(range(6), ["rgb"], [TARGET])
    assert len(found) == 6
    torch.testing.assert_close(whole.vectors[TARGET], bank.vectors[TARGET][whole.rows].float(), atol=1e-3, rtol=0)


def test_what_is_asked_is_a_function_of_the_batch(trainer: Trainer, contrast: Contrast, bank: Bank) -> None:
    batch = _batch(trainer)
    one, again = contrast.draw_answers(batch, bank), contrast.draw_answers(batch, bank)
    assert torch.equal(one.rows, again.rows)
    assert torch.equal(one.negatives, again.negatives)
    assert len(set(one.negatives.tolist())) == 16
    other = contrast.draw_answers(_batch(trainer, 1), bank)
    assert not torch.equal(one.negatives, other.negatives)


def test_a_picture_as_it_is_is_asked_for_another_vendors(
    trainer: Trainer, contrast: Contrast, bank: Bank, share: Callable[[float], None]
) -> None:
    batch = _batch(trainer)
    exact = bank.vectors[TARGET][batch.rows].float()

    def rows(own: dict[str, Tensor]) -> list[int]:
        return contrast.draw_answers(replace(batch, own=own), bank).rows.tolist()

    def are_of_others(found: list[int]) -> bool:
        return all(
            answer in bank.same_concept_rows(row) for row, answer in zip(batch.rows.tolist(), found, strict=True)
        )

    assert are_of_others(rows({"rgb": exact}))
    share(0.0)
    assert rows({"rgb": -exact}) == batch.rows.tolist()
    share(1.0)
    assert are_of_others(rows({}))


def test_the_vector_is_the_decoded_prediction_plus_the_shortcuts(trainer: Trainer, contrast: Contrast) -> None:
    batch = _batch(trainer)
    logits = _logits(trainer, batch)
    found = contrast.vectors(logits, batch.own)[TARGET]
    decoded = trainer.objective.tokenizers[TARGET].decode_probabilities(logits[TARGET].softmax(dim=2))
    added = contrast.shortcuts(batch.own, TARGET)
    torch.testing.assert_close(found, F.normalize(decoded, dim=1) + added)
    assert added.any()
    torch.testing.assert_close(contrast.vectors(logits, {})[TARGET], F.normalize(decoded, dim=1))


def test_vectors_that_find_their_own_cost_less(
    trainer: Trainer, contrast: Contrast, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = _batch(trainer)
    exact = bank.vectors[TARGET][contrast.draw_answers(batch, bank).rows].float()
    costs = []
    for vectors in (exact, exact.roll(1, dims=0)):
        monkeypatch.setattr(contrast, "vectors", lambda logits, own, rows=vectors: {TARGET: rows})
        costs.append(contrast.losses(_logits(trainer, batch), batch, bank)[TARGET].contrast.item())
    assert costs[0] < 1.0 < costs[1]


def test_samples_of_the_same_concept_are_no_wrong_answers(trainer: Trainer, contrast: Contrast, bank: Bank) -> None:
    batch = _batch(trainer)
    alike = replace(bank, groups=bank.groups * 0)  # all of one concept: nothing is left to be wrong
    logits = _logits(trainer, batch)
    assert contrast.losses(logits, batch, alike)[TARGET].contrast.item() == pytest.approx(0.0, abs=1e-5)
    assert contrast.losses(logits, batch, bank)[TARGET].contrast.item() > 0.5


def test_samples_that_show_nothing_or_lack_the_target_take_no_part(
    trainer: Trainer, contrast: Contrast, bank: Bank, share: Callable[[float], None]
) -> None:
    share(0.0)
    batch = replace(_batch(trainer), own={})
    logits = _logits(trainer, batch)
    vectors = bank.vectors[TARGET].clone()
    vectors[batch.rows[:5]] = 0
    lacking = replace(bank, vectors={TARGET: vectors})
    missing = sum(int(row in batch.rows[:5]) for row in batch.rows)
    assert contrast.losses(logits, batch, lacking)[TARGET].samples == 16 - missing
    blind = {key: replace(one, mask=torch.ones_like(one.mask)) for key, one in batch.inputs.items()}
    nothing = contrast.losses(logits, replace(batch, inputs=blind), bank)[TARGET]
    assert nothing.samples == 0
    assert nothing.contrast.item() == 0


def test_the_whole_loss_adds_codes_by_their_weight_and_contrast(trainer: Trainer) -> None:
    objective: Objective = trainer.objective
    with torch.no_grad():
        parts = objective.losses(trainer.network, _batch(trainer))
    assert set(parts.values) == set(objective.columns)
    assert f"contrast/{TARGET}" in objective.columns
    texts = [float(parts.values[f"loss/{key}"]) for key in ("caption", "color_palette", "tok_rgb")]
    expected = sum(texts) / 3 + 0.25 * float(parts.values[f"loss/{TARGET}"]) + float(parts.values[f"contrast/{TARGET}"])
    assert float(objective.total(parts)) == pytest.approx(expected, rel=1e-5)


def test_shortcuts_are_trained_and_their_means_and_the_tokenizers_are_not(trainer: Trainer) -> None:
    objective = trainer.objective
    objective.total(objective.losses(trainer.network, _batch(trainer))).backward()
    names = {name for name in trainer.state.parameters if name.startswith("contrast.")}
    maps = {"rgb": ("down", "up", "gain", "share"), "states": ("down", "up", "gain")}
    assert names == {"contrast.scale.shape_global"} | {
        f"contrast.shortcuts.maps.{key}_to_shape_global.{own}" for key, all_own in maps.items() for own in all_own
    }
    assert all(trainer.state.parameters[name].grad.any() for name in names)
    assert not any(parameter.requires_grad for parameter in objective.tokenizers[TARGET].parameters())
