"""The lucid quantizer: its distances and the codebook update."""

import pytest
import torch
import torch.nn.functional as F

from anyseek.model.tokenizers.lucid import Codebook, CodebookRule, LucidQuantizer


def _quantizer(*, norm_codes: bool) -> LucidQuantizer:
    made = LucidQuantizer(latent_dim=4, codebook_size=9, norm_codes=norm_codes)
    made._codebook.embed.copy_(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)) * 3)
    return made


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(1))


def test_distance_is_euclidean_without_norm(latents: torch.Tensor) -> None:
    quantizer = _quantizer(norm_codes=False)
    points = latents.movedim(1, -1).reshape(-1, 4)
    distances = torch.cdist(points, quantizer._codebook.embed)
    assert torch.equal(quantizer.assign(latents).flatten(), distances.argmin(dim=1))
    torch.testing.assert_close(quantizer.scores(latents).reshape(-1, 9), -distances.square(), atol=1e-4, rtol=1e-4)


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
    quantizer.reset_codes()
    draws = torch.Generator().manual_seed(3)
    quantizer.place_codes(latents, draws)
    before = quantizer.quantise(latents)
    for _ in range(60):
        quantizer.update_codes(latents, quantizer.assign(latents), CodebookRule(decay=0.8), draws)
    after = quantizer.quantise(latents)
    cosines = [F.cosine_similarity(latents, quantised.values, dim=1).mean() for quantised in (before, after)]
    assert cosines[1] > cosines[0]


_NEVER_DEAD = CodebookRule(decay=0.9, dead_share=0.0)


def _draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_code_moves_a_tenth_of_the_way_to_the_mean_direction_of_its_latents() -> None:
    codebook = Codebook(2, 3, norm_codes=True)
    codebook.embed.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.5], [3.0, 4.0]]))
    codebook.cluster_size.copy_(torch.tensor([10.0, 20.0, 30.0]))
    latents = torch.tensor([[5.0, 0.0], [0.0, 2.0], [0.0, -1.0]])
    assert codebook.update_codes(latents, torch.tensor([0, 0, 1]), _NEVER_DEAD, _draws()) == 0
    # sizes: 0.9 of what they were and 0.1 of the counts 2, 1, 0
    torch.testing.assert_close(codebook.cluster_size, torch.tensor([9.2, 18.1, 27.0]))
    # (1, 0) and (0, 1) have the mean direction (0.7071, 0.7071); a code that none chose goes to its own direction
    root = 0.5**0.5
    expected = torch.tensor([[0.9 + 0.1 * root, 0.1 * root], [0.0, 0.45 - 0.1], [2.7 + 0.06, 3.6 + 0.08]])
    torch.testing.assert_close(codebook.embed, expected)


def test_without_norm_a_code_is_the_running_mean_of_its_latents() -> None:
    codebook = Codebook(2, 2, norm_codes=False)
    codebook.cluster_size.copy_(torch.tensor([10.0, 10.0]))
    codebook.embed_avg.copy_(torch.tensor([[10.0, 20.0], [-10.0, 0.0]]))
    latents = torch.tensor([[3.0, 5.0], [1.0, 1.0]])
    codebook.update_codes(latents, torch.tensor([0, 0]), _NEVER_DEAD, _draws())
    torch.testing.assert_close(codebook.cluster_size, torch.tensor([9.2, 9.0]))
    torch.testing.assert_close(codebook.embed_avg, torch.tensor([[9.4, 18.6], [-9.0, 0.0]]))
    expected = torch.tensor([[9.4 / 9.2, 18.6 / 9.2], [-1.0, 0.0]])
    torch.testing.assert_close(codebook.embed, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm_codes", [True, False])
def test_dead_codes_bring_a_collapsed_codebook_back(norm_codes: bool) -> None:
    """All codes start equal, so that every latent is assigned to the first; the latents form sixteen clusters."""
    draws, rule = _draws(), CodebookRule()
    centres = F.normalize(torch.randn(16, 8, generator=draws), dim=1) * 3
    codebook = Codebook(8, 16, norm_codes=norm_codes)
    codebook.embed.copy_(centres[:1].expand(16, -1))
    codebook.cluster_size.fill_(16.0)
    codebook.cluster_size[1:] = 0.0
    replaced, used = [], 0
    for _ in range(40):
        latents = centres[torch.randint(16, (256,), generator=draws)] + 0.01 * torch.randn(256, 8, generator=draws)
        ids = _nearest(codebook, latents)
        used = len(ids.unique())
        replaced.append(codebook.update_codes(latents, ids, rule, draws))
    assert replaced[0] == 15
    assert used >= 14


def _nearest(codebook: Codebook, latents: torch.Tensor) -> torch.Tensor:
    if codebook.norm_codes:
        return (F.normalize(latents, dim=1) @ F.normalize(codebook.embed, dim=1).T).argmax(dim=1)
    return torch.cdist(latents, codebook.embed).argmin(dim=1)


def test_a_dead_code_is_one_below_the_share_of_an_even_count() -> None:
    codebook = Codebook(2, 4, norm_codes=True)
    codebook.embed.copy_(torch.eye(2).repeat(2, 1))
    codebook.cluster_size.copy_(torch.tensor([5.0, 0.3, 0.2, 5.0]))
    latents = torch.tensor([[1.0, 1.0]] * 4)
    rule = CodebookRule(decay=1.0, dead_share=0.25)  # 4 latents on 4 codes: below 0.25
    assert codebook.update_codes(latents, torch.zeros(4, dtype=torch.int64), rule, _draws()) == 1
    torch.testing.assert_close(codebook.embed[2], torch.tensor([0.5**0.5, 0.5**0.5]))
    torch.testing.assert_close(codebook.cluster_size, torch.tensor([5.0, 0.3, 0.25, 5.0]))


def test_codes_are_initialised_once_at_different_latents() -> None:
    codebook = Codebook(3, 5, norm_codes=False)
    codebook.initted.zero_()
    latents = torch.randn(5, 3, generator=_draws())
    codebook.place_codes(latents, _draws())
    assert {tuple(row) for row in codebook.embed.tolist()} == {tuple(row) for row in latents.tolist()}
    codebook.place_codes(latents + 1, _draws())
    assert {tuple(row) for row in codebook.embed.tolist()} == {tuple(row) for row in latents.tolist()}
    few = Codebook(3, 5, norm_codes=False)
    few.initted.zero_()
    few.place_codes(latents[:2], _draws())  # fewer latents than codes: some codes share one
    assert len(few.embed.unique(dim=0)) == 2
