"""A network of the shape of CLIP's ViT-B/32 image tower with random weights, to compare rates with."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.encoders.preprocess import encoder_input, picture_pixels
from anyseek.model.network.packing import pack_linears
from anyseek.model.seam import FloatArray, Sample

_WIDTH, _HEADS, _BLOCKS, _OUT = 768, 12, 12, 512
_PATCH, _TOKENS = 32, 50  # 7 x 7 patches of 224 x 224 pixels, and one for the whole
_AT_ONCE = 16


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.qkv, self.proj = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.wide, self.narrow = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 50, 768) -> (B, 50, 768)."""
        # (B, 50, 3 * 768) -> three times (B, heads, 50, 64)
        q, k, v = self.qkv(self.first(x)).unflatten(2, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        narrow: Tensor = self.narrow(F.gelu(self.wide(self.second(x))))
        return x + narrow


class VitShape(nn.Module):
    """4.4 G multiplications and additions and 87 M parameters, float32, its matrices packed as ours are."""

    spaces: Mapping[str, None] = MappingProxyType({"clip": None})

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, _WIDTH, _PATCH, _PATCH)
        self.whole = nn.Parameter(torch.zeros(1, 1, _WIDTH))
        self.places = nn.Parameter(torch.zeros(1, _TOKENS, _WIDTH))
        self.blocks = nn.Sequential(*(_Block() for _ in range(_BLOCKS)))
        self.last, self.out = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _OUT, bias=False)
        self.eval().requires_grad_(False)
        pack_linears(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 (B, 3, 224, 224) -> unit vectors (B, 512)."""
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = self.blocks(torch.cat([self.whole.expand(len(x), -1, -1), x], dim=1) + self.places)
        return F.normalize(self.out(self.last(x[:, 0])), dim=1)

    @torch.inference_mode()
    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """Vectors of pictures, scaled as ours are; as `Embedder.embed_gallery` for a bare loop."""
        found = []
        for start in range(0, len(samples), _AT_ONCE):
            looks = [picture_pixels(sample.values["rgb"]) for sample in samples[start : start + _AT_ONCE]]
            found.append(self(encoder_input(looks)))
        vectors: FloatArray = torch.cat(found).numpy()
        return dict.fromkeys(spaces, vectors)
