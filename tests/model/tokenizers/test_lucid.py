"""The lucid quantizer: what near means, and that codes come back as they are stored."""

import pytest
import torch
import torch.nn.functional as F

from anyseek.model.tokenizers.lucid import CodebookRule, LucidQuantizer


def _quantizer(*, norm_codes: bool) -> LucidQuantizer:
    made = LucidQuantizer(latent_dim=4, codebook_size=9, norm_codes=norm_codes)
    made._codebook.embed.copy_(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)) * 3)
    return made


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(1))


def test_cosine_is_computed_position_by_position(latents: torch.Tensor) -> None:
    quantizer = _quantizer(norm_codes=True)
    ids = quantizer.assign(latents)
    assert ids.shape == (2, 3, 5)
    for b, row, column in ((0, 0, 0), (1, 2, 4), (1, 0, 3)):
        cosines = F.cosine_similarity(latents[b, :, row, column][None], quantizer._codebook.embed)
        assert ids[b, row, column] == cosines.argmax()


def test_distance_is_euclidean_without_norm(latents: torch.Tensor) -> None:
    quantizer = _quantizer(norm_codes=False)
    points = latents.movedim(1, -1).reshape(-1, 4)
    distances = torch.cdist(points, quantizer._codebook.embed)
    assert torch.equal(quantizer.assign(latents).flatten(), distances.argmin(dim=1))
    torch.testing.assert_close(quantizer.scores(latents).reshape(-1, 9), -distances.square(), atol=1e-4, rtol=1e-4)


def test_codes_are_returned_with_their_own_length() -> None:
    quantizer = _quantizer(norm_codes=True)
    ids = torch.tensor([[[0, 8, 3]]])
    codes = quantizer.lookup(ids)
    assert codes.shape == (1, 4, 1, 3)
    assert torch.equal(codes[0, :, 0, 1], quantizer._codebook.embed[8])


def test_certain_probabilities_give_the_hard_lookup() -> None:
    quantizer = _quantizer(norm_codes=True)
    ids = torch.tensor([[[6, 0], [3, 1]]])
    torch.testing.assert_close(quantizer.expected_values(F.one_hot(ids, 9).float()), quantizer.lookup(ids))


def test_everything_stored_is_a_buffer() -> None:
    cosine, euclidean = _quantizer(norm_codes=True), _quantizer(norm_codes=False)
    assert not list(cosine.parameters())
    names = {"_codebook.initted", "_codebook.cluster_size", "_codebook.embed"}
    assert cosine.state_dict().keys() == names
    assert euclidean.state_dict().keys() == names | {"_codebook.embed_avg"}


def test_gradients_go_straight_through_codes(latents: torch.Tensor) -> None:
    quantizer = _quantizer(norm_codes=True)
    latents = latents.requires_grad_()
    quantised = quantizer.quantise(latents)
    assert torch.equal(quantised.ids, quantizer.assign(latents))
    torch.testing.assert_close(quantised.values, quantizer.lookup(quantised.ids))
    weights = torch.randn(quantised.values.shape, generator=torch.Generator().manual_seed(2))
    (through,) = torch.autograd.grad((quantised.values * weights).sum(), latents, retain_graph=True)
    assert torch.equal(through, weights)
    apart = (latents - quantizer.lookup(quantised.ids)).detach()
    torch.testing.assert_close(quantised.commitment.detach(), apart.square().mean())
    (pulled,) = torch.autograd.grad(quantised.commitment, latents)
    torch.testing.assert_close(pulled, 2 * apart / apart.numel())


def test_learning_moves_the_codes_that_were_chosen(latents: torch.Tensor) -> None:
    quantizer = LucidQuantizer(latent_dim=4, codebook_size=9, norm_codes=True)
    quantizer.forget()
    draws = torch.Generator().manual_seed(3)
    quantizer.begin(latents, draws)
    before = quantizer.quantise(latents)
    for _ in range(60):
        quantizer.learn(latents, quantizer.assign(latents), CodebookRule(decay=0.8), draws)
    after = quantizer.quantise(latents)
    cosines = [F.cosine_similarity(latents, one.values, dim=1).mean() for one in (before, after)]
    assert cosines[1] > cosines[0]
