"""Pack weights into oneDNN's blocked layout for faster CPU inference. Results are the same up to rounding.

An ordinary linear layer converts its weights to that layout on every call, or does not use it. For 4M-21_B, packing
makes a picture a fifth faster, and a caption, which is bound by reading weights, a third faster. A packed network can
only predict: it cannot be trained, saved or moved to another device, and does not share its weights with other
processes.
"""

from typing import cast

import torch
from torch import Tensor, nn

from anyseek.model.network.modality_embeddings import DecoderEmbedding
from anyseek.model.network.transformer import FourM

# Folded cross-attention reads the key and value matrices directly.
_UNPACKED_LAYER = "kv"


class PackedLinear(nn.Module):
    """Linear layer with a packed copy of the weights of `linear`."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in), in the dtype of the weights -> (..., out)."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch supports oneDNN for `dtype` on this processor."""
    if not (hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")):
        return False
    return dtype is torch.float32 or (dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(network: FourM, targets: tuple[str, ...]) -> None:
    """Pack the linear layers of encoder and decoder where possible, and the logit layers of `targets`.

    Logit layers of other targets stay unpacked until `pack_head` is called.
    """
    if _can_pack_network(network):
        _pack_children(network.encoder)
        _pack_children(network.decoder)
    for key in targets:
        pack_head(network, key)


def pack_head(network: FourM, key: str) -> None:
    """Convert the logit layer of `key` to float32, and pack it where possible; idempotent.

    It is float32 whatever the network's dtype, because rounding logits to bfloat16 can change the best token.
    """
    head = cast(DecoderEmbedding, network.decoder_embeddings[key])
    if not isinstance(head.to_logits, PackedLinear):
        head.to_logits = _to_float32(head.to_logits)
        if _can_pack_network(network):
            _pack_children(head)


def _can_pack_network(network: FourM) -> bool:
    return network.mask_token.device.type == "cpu" and can_pack(network.mask_token.dtype)


def pack_linears(network: nn.Module) -> None:
    """Pack all linear layers of a network on the CPU, in float32, where possible."""
    if can_pack(torch.float32):
        _pack_children(network)


def _to_float32(linear: nn.Linear) -> nn.Linear:
    """Float32 copy of `linear`, whose weights may be tied to other layers that keep their dtype."""
    copy = nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta")
    copy.weight = nn.Parameter(linear.weight.detach().float(), requires_grad=False)
    return copy


def _pack_children(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear) and name != _UNPACKED_LAYER:
            setattr(module, name, PackedLinear(child))
        else:
            _pack_children(child)
