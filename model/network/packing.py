"""Pack weights into oneDNN's blocked layout for faster CPU inference. Results are the same up to rounding.

An ordinary linear layer converts its weights to that layout on every call, or does not use it. At the shape of 4M-21_B,
packed weights make a picture a fifth faster, and a caption, whose time goes into reading the weights, a third faster. A
packed network can only predict: it cannot be trained, saved or moved, and does not share its weights with other
processes.
"""

from typing import cast

import torch
from torch import Tensor, nn

from anyseek.model.network.modality_embeddings import DecoderEmbedding
from anyseek.model.network.transformer import FourM

# Folded cross-attention needs its keys' and values' matrices as they are.
_LEFT_ALONE = "kv"


class PackedLinear(nn.Module):
    """Computes the same as `linear`, from a packed copy of its weights."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in), of the dtype of the weights -> (..., out)."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch supports oneDNN for `dtype` on this processor."""
    if not (hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")):
        return False
    return dtype is torch.float32 or (dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(network: FourM, targets: tuple[str, ...]) -> None:
    """Pack the linear layers of encoder and decoder where possible, and those that give the logits of `targets`.

    Logits of other targets, and embeddings, stay as they are until `pack_head` is called.
    """
    if _packs(network):
        _pack_below(network.encoder)
        _pack_below(network.decoder)
    for key in targets:
        pack_head(network, key)


def pack_head(network: FourM, key: str) -> None:
    """Make the layer that gives the logits of `key` compute in float32, and pack it where possible.

    In float32 whatever the network's dtype, because rounding a logit to bfloat16 alone can change which token is the
    best. A layer that is packed already stays as it is.
    """
    head = cast(DecoderEmbedding, network.decoder_embeddings[key])
    if not isinstance(head.to_logits, PackedLinear):
        head.to_logits = _float32(head.to_logits)
        if _packs(network):
            _pack_below(head)


def _packs(network: FourM) -> bool:
    return network.mask_token.device.type == "cpu" and can_pack(network.mask_token.dtype)


def pack_linears(network: nn.Module) -> None:
    """Pack all linear layers of a network on the CPU, in float32, where possible."""
    if can_pack(torch.float32):
        _pack_below(network)


def _float32(linear: nn.Linear) -> nn.Linear:
    """A layer of its own in float32; the weights of `linear` may be tied to others, which keep their dtype."""
    copy = nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta")
    copy.weight = nn.Parameter(linear.weight.detach().float(), requires_grad=False)
    return copy


def _pack_below(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear) and name != _LEFT_ALONE:
            setattr(module, name, PackedLinear(child))
        else:
            _pack_below(child)
