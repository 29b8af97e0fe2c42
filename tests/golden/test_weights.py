"""The drawing rule against the values printed with the recorded numbers."""

import numpy as np
import pytest
import torch
from torch import nn

from anyseek.model.network.config import FourMConfig
from anyseek.model.network.transformer import FourM
from tests.golden.weights import draw, fill_weights


@pytest.mark.parametrize(
    ("name", "shape", "first", "last"),
    [
        ("mask_token", (1, 1, 64), (-0.2457713, -0.3369067, -0.3573555), -1.142559),
        ("encoder.0.norm1.weight", (64,), (1.029434, 1.155528, 0.868591), 0.9791247),
        ("decoder_proj_context.bias", (64,), (0.1829204, 0.01407602, 0.2172337), 0.1002135),
        ("encoder.0.attn.qkv.weight", (192, 64), (-0.08241671, -0.04386664, 0.05056288), 0.004217567),
        ("quantize.to_k.weight", (16, 64, 64), (-0.05632568, -0.1345284, -0.1265516), 0.04743243),
    ],
)
def test_draws(name: str, shape: tuple[int, ...], first: tuple[float, ...], last: float) -> None:
    values = draw(name, shape).ravel()
    np.testing.assert_allclose(values[[0, 1, 2, -1]], [*first, last], rtol=1e-6)


def test_tables_and_fixed_biases_are_kept_and_shared_tensors_take_their_first_name(small_config: FourMConfig) -> None:
    network = FourM(small_config)
    made = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fill_weights(network)
    filled = network.state_dict()
    for kept in ("encoder_embeddings.palette.pos_emb", "encoder.0.norm1.bias"):
        assert filled[kept].equal(made[kept])
    for name in ("encoder_embeddings.tok_visual.pos_emb", "decoder_proj_context.bias"):
        np.testing.assert_array_equal(filled[name].numpy(), draw(name, tuple(filled[name].shape)))
    shared = filled["decoder_embeddings.palette.mod_emb"].numpy()
    np.testing.assert_array_equal(shared, draw("encoder_embeddings.palette.mod_emb", (1, 1, 16)))


def test_counters_of_an_ema_codebook_are_kept() -> None:
    class Codebook(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("initted", torch.ones(1))
            self.register_buffer("embed", torch.ones(4, 3))

    network = nn.ModuleDict({"_codebook": Codebook()})
    fill_weights(network)
    filled = network.state_dict()
    assert filled["_codebook.initted"].item() == 1.0
    np.testing.assert_array_equal(filled["_codebook.embed"].numpy(), draw("_codebook.embed", (4, 3)))
