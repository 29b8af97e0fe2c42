"""A product quantizer finds what it was fitted to, without a step of training."""

import pytest
import torch
import torch.nn.functional as F

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.training.tokenizing.config import check_shape
from anyseek.model.training.tokenizing.train import deal_out, k_means, product_quantizer

MLP = "BottleneckMLP/B_1-Wi_48-E_2"
SHAPE = TokenizerConfig(64, MLP, MLP, "memcodes", 128, 4, 52)


def _vectors() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(60, 64, generator=generator)
    chosen = centres[torch.randint(60, (1500,), generator=generator)]
    return F.normalize(chosen + 0.1 * torch.randn(1500, 64, generator=generator), dim=1)


def test_vectors_are_found_again_by_their_codes() -> None:
    vectors = _vectors()
    tokenizer = product_quantizer(SHAPE, vectors, seed=0)
    with torch.no_grad():
        rebuilt = tokenizer.decode_tokens(tokenizer.encode(vectors))
        latents = tokenizer.latents(vectors).reshape(len(vectors), 4, 13)
    assert F.cosine_similarity(rebuilt, vectors).mean() > 0.95
    assert F.cosine_similarity(rebuilt, vectors.roll(1, 0)).mean() < 0.5
    scaled = latents / latents[:, :, -1:]
    codes = tokenizer.quantize.codes.detach()
    nearest = torch.stack([torch.cdist(scaled[:, head, :-1], codes[head, :, :-1]).argmin(1) for head in range(4)], 1)
    assert (nearest == tokenizer.encode(vectors)).float().mean() > 0.999


def test_the_same_vectors_make_the_same_tokenizer() -> None:
    first, second = (product_quantizer(SHAPE, _vectors(), seed=0).state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_components_are_dealt_out_so_that_heads_share_the_variance() -> None:
    dealt = deal_out(torch.tensor([16.0, 8.0, 4.0, 2.0]), heads=2)
    assert dealt.tolist() == [[0, 3], [1, 2]]


def test_centres_lie_where_points_are() -> None:
    points = torch.cat([torch.zeros(50, 2), torch.full((50, 2), 4.0)])
    centres = k_means(points, 4, torch.Generator().manual_seed(0))
    assert set(map(tuple, centres.tolist())) == {(0.0, 0.0), (4.0, 4.0)}


@pytest.mark.parametrize("change", [{"num_codebooks": 5}, {"latent_dim": 48}, {"n_channels": 32}])
def test_other_shapes_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigInvalid):
        check_shape(TokenizerConfig(**{**vars(SHAPE), **change}))
