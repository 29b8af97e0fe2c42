from pathlib import Path

import pytest
import torch

from model.tiny import SEMANTIC, VISUAL
from model.training.batches import Sampler
from model.training.objective import Objective
from model.training.product_quantizer import product_quantizer
from model.training.progress import development_recall
from model.training.store import Store, Texts
from model.training.train import build_objective, run
from model.training.train_tokenizers import ceiling, reconstruction_loss, train_tokenizer


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    sizes = {VISUAL: 1280, SEMANTIC: 384}
    return {
        name: product_quantizer(torch.nn.functional.normalize(torch.randn(1100, size, generator=generator), dim=1))
        for name, size in sizes.items()
    }


def _fresh(store: Store, texts: Texts, tokenizers: dict[str, object]) -> tuple[Objective, Sampler]:
    sampler = Sampler(store, texts, 0)
    return build_objective(store, texts, sampler, tokenizers), sampler  # type: ignore[arg-type]


def test_a_run_that_was_broken_off_ends_like_an_unbroken_one(
    store: Store, texts: Texts, tokenizers: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.training.train._SIZE", 4)
    monkeypatch.setattr("model.training.train._SAVE_EVERY", 1)
    whole, sampler = _fresh(store, texts, tokenizers)
    run(whole, sampler, tmp_path / "whole.safetensors", 3)
    broken, sampler = _fresh(store, texts, tokenizers)
    with monkeypatch.context() as patch:
        patch.setattr("model.training.train._REPORT_EVERY", 2)
        patch.setattr("builtins.print", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(broken, sampler, tmp_path / "broken.safetensors", 3)
    resumed, sampler = _fresh(store, texts, tokenizers)
    run(resumed, sampler, tmp_path / "broken.safetensors", 3)
    for (name, expected), found in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, msg=name)
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "broken.safetensors").read_bytes()


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_training_changes_the_network_and_leaves_the_tokenizers(
    store: Store, texts: Texts, tokenizers: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.training.train._SIZE", 4)
    objective, sampler = _fresh(store, texts, tokenizers)
    before = objective.network.mask_token.detach().clone()
    codes = tokenizers[VISUAL].quantize.codes.detach().clone()  # type: ignore[attr-defined]
    run(objective, sampler, tmp_path / "state.safetensors", 1)
    assert not torch.equal(before, objective.network.mask_token)
    torch.testing.assert_close(tokenizers[VISUAL].quantize.codes, codes, rtol=0, atol=0)  # type: ignore[attr-defined]
    assert "line (1)" in development_recall(objective, store, texts)


def test_a_product_quantizer_finds_what_it_was_fitted_on() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(60, 256, generator=generator)
    vectors = centres[torch.randint(60, (1500,), generator=generator)] + 0.1 * torch.randn(
        1500, 256, generator=generator
    )
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    cosine, _ = ceiling(product_quantizer(vectors), vectors)
    trained, recall = ceiling(train_tokenizer(vectors, 30), vectors)
    assert cosine > 0.9
    assert trained > 0.9
    assert recall > 0.5


def test_a_perfect_reconstruction_costs_nothing_and_its_length_does_not_matter() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert reconstruction_loss(3 * vectors, vectors, vectors.mean(dim=0)).item() == pytest.approx(0, abs=1e-5)
    assert reconstruction_loss(-vectors, vectors, vectors.mean(dim=0)).item() > 1
