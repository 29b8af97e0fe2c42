"""Networks with random weights that differ only in how they compute."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import nn

from anyseek.model.network.config import FourMConfig
from anyseek.model.network.layers import DecoderBlock
from anyseek.model.network.packing import pack
from anyseek.model.network.token_budget import within_budget
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import FourM
from benchmarks.model.int8 import round_to_int8

INT8 = "int8"


@dataclass(frozen=True)
class Variant:
    """A way of running the network. `dtype` is float32, bfloat16 or int8 (`benchmarks.model.int8`).

    `packed`: weights in oneDNN's layout (`anyseek.model.network.packing`). `folding`: cross-attention as
    `anyseek.model.network.layers` chooses, or always with keys and values of the whole context. `token_budget`: patches
    of 196 that are encoded.
    """

    dtype: str = "float32"
    packed: bool = True
    folding: bool = True
    token_budget: int | None = None

    @property
    def numbers(self) -> torch.dtype:
        """The dtype of inputs, activations and of what is not in int8."""
        return torch.float32 if self.dtype == INT8 else getattr(torch, self.dtype)  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """In words."""
        said = [self.dtype, "" if self.packed else "not packed", "" if self.folding else "not folded"]
        said.append("" if self.token_budget is None else f"{self.token_budget} patches")
        return ", ".join(filter(None, said))


@dataclass(frozen=True)
class Case:
    """`batch` pictures (`rgb`, 196 patches) or captions of 8 tokens to 16 tokens of `tok_dinov2_global`."""

    modality: str
    batch: int
    variant: Variant


# Computes as the reference does: ordinary weights, keys and values of every context token.
PLAIN = Variant(packed=False, folding=False)
_PICTURES = (
    PLAIN,
    Variant(packed=False),
    Variant(folding=False),
    Variant(),
    Variant(token_budget=98),
    Variant("bfloat16", packed=False, folding=False),
    Variant("bfloat16", folding=False),
    Variant("bfloat16"),
    Variant("bfloat16", token_budget=98),
    Variant(INT8),
    Variant(INT8, token_budget=98),
)
_CAPTIONS = (PLAIN, Variant(), Variant("bfloat16"), Variant(INT8))

CASES = tuple(
    Case(modality, batch, variant)
    for modality, variants in (("rgb", _PICTURES), ("caption", _CAPTIONS))
    for batch in (1, 16)
    for variant in variants
)


TARGET = "tok_dinov2_global"
_MAPS = tuple(f"tok_{name}@224" for name in ("rgb", "depth", "semseg", "normal", "clip"))
_OUT = (
    *_MAPS,
    *("caption", "det", "metadata", "human_poses", "color_palette", "sam_instance", "tok_dinov2@224"),
    *(TARGET, "tok_imagebind@224", "tok_imagebind_global", "tok_canny_edge@224", "tok_sam_edge@224"),
)
PUBLISHED = FourMConfig(
    domains_in=("rgb@224", *_OUT, "t5_caption"),
    domains_out=_OUT,
    gated_mlp=True,
    norm_bias=False,
    qkv_bias=False,
    proj_bias=False,
    mlp_bias=False,
)
SMALL = replace(PUBLISHED, dim=64, num_heads=2, encoder_depth=2, decoder_depth=2)
_CAPTION_TOKENS = 8


class Networks:
    """The network of a config for every variant, all with the same weights, made when first asked for.

    `keys` are the modalities that it can take and predict.
    """

    def __init__(self, config: FourMConfig, keys: Collection[str] = ("rgb@224", "caption", TARGET)) -> None:
        self.config = config
        self._weights = random_network(config, keys=keys)
        self._made: dict[Variant, FourM] = {}

    def of(self, variant: Variant) -> FourM:
        """The network that computes as `variant` says."""
        alike = replace(variant, token_budget=None)
        if alike not in self._made:
            self._made[alike] = self._make(alike)
        return self._made[alike]

    def _make(self, variant: Variant) -> FourM:
        """A network that shares with the others what is of its dtype and not packed."""
        plain = replace(PLAIN, dtype="float32" if variant.dtype == INT8 else variant.dtype)
        weights = self._weights if variant == plain else self.of(plain)
        network = _twin(weights, variant.numbers)
        if variant.dtype == INT8:
            round_to_int8(network)
        if variant.packed:
            pack(network, (TARGET,))
        for block in network.decoder:
            if not variant.folding and isinstance(block, DecoderBlock):
                block.cross_attn.foldable = False
        return network

    def inputs(self, case: Case) -> dict[str, ModalityInput]:
        """Random inputs, the same for the same modality and batch."""
        random = torch.Generator().manual_seed(case.batch)
        if case.modality == "caption":
            ids = torch.randint(self.config.row("caption").vocabulary, (case.batch, _CAPTION_TOKENS), generator=random)
            return {"caption": ModalityInput(ids, torch.zeros(ids.shape, dtype=torch.bool))}
        pixels = torch.randn(case.batch, 3, 224, 224, generator=random).to(case.variant.numbers)
        inputs = {"rgb@224": ModalityInput(pixels, torch.zeros(case.batch, 196, dtype=torch.bool))}
        budget = case.variant.token_budget
        return inputs if budget is None else within_budget(inputs, self.config, budget)


def random_network(
    config: FourMConfig,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    keys: Collection[str] = ("rgb@224", "caption", TARGET),
) -> FourM:
    """The embeddings of other modalities than `keys` stay unwritten, and on a CPU take no memory."""
    with torch.device("meta"):
        network = FourM(config).to(dtype)
    network = network.to_empty(device=device)
    random = torch.Generator(device).manual_seed(0)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if "embeddings." in name and not any(f".{key}." in name for key in keys):
            continue
        if tensor.ndim > 1:
            # as wide as keeps lengths, and position tables as long as sines
            bound = 1.0 if name.endswith("_emb") else (3 / tensor.shape[1]) ** 0.5
            nn.init.uniform_(tensor, -bound, bound, generator=random)
        else:
            nn.init.constant_(tensor, 1.0 if name.endswith("weight") else 0.0)
    return network.eval()


def _twin(network: FourM, dtype: torch.dtype) -> FourM:
    """A network with the same tensors, cast where `dtype` is another."""
    with torch.device("meta"):
        twin = FourM(network.config)
    twin.load_state_dict({name: tensor.to(dtype) for name, tensor in network.state_dict().items()}, assign=True)
    return twin.eval()
