"""Base class of image and map tokenizers, the single-pass tokenizer, and conversion of outputs to arrays."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.lucid import LucidQuantizer
from anyseek.model.tokenizers.vit import ViTDecoder, ViTEncoder, parse_vit

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class ImageTokenizer(nn.Module):
    """Encodes images or maps to a grid of tokens; subclasses decode. Parameter names match the published tokenizers.

    B batch, C channels, H x W pixels (sides multiples of the patch, any size), h x w tokens, K codes, L latent width.
    Raises `ConfigInvalid` for an unsupported config.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        for name, value in {"quant_type": "lucid", "num_codebooks": 1, "norm_latents": False}.items():
            if getattr(config, name) != value:
                raise ConfigInvalid(f"a tokenizer of images needs {name} {value!r}, not {getattr(config, name)!r}")
        if config.undo_std and config.n_channels != len(IMAGENET_MEAN):
            raise ConfigInvalid(f"undo_std needs 3 channels, not {config.n_channels}")
        self.config = config
        shape = parse_vit(config.enc_type, "enc", post_mlp=config.post_mlp)
        self.cls_emb = nn.Embedding(config.n_labels, config.n_channels) if config.n_labels else None
        self.patch = config.patch_size if config.patch_proj else 1
        self.encoder = ViTEncoder(shape, config.n_channels, config.encoder_grid, self.patch)
        self.quant_proj = nn.Conv2d(shape.dim, config.latent_dim, 1)
        self.quantize = LucidQuantizer(config.latent_dim, config.codebook_size, norm_codes=config.norm_codes)

    def prepare(self, image: Tensor) -> Tensor:
        """Encoder input: image float (B, C, H, W), or with `n_labels` ids int (B, H, W) -> float (B, C, H, W)."""
        if self.cls_emb is not None:
            # (B, H, W, C) -> (B, C, H, W)
            embedded: Tensor = self.cls_emb(image.long()).movedim(-1, 1)
            return embedded
        image = image.to(self.quant_proj.weight.dtype)
        if not self.config.undo_std:
            return image
        mean, deviation = (torch.tensor(row).to(image)[:, None, None] for row in (IMAGENET_MEAN, IMAGENET_DEVIATION))
        return (image * deviation + mean) * 2 - 1

    def latents(self, image: Tensor) -> Tensor:
        """Unquantised latents: image as in `prepare` -> float (B, L, h, w). Raises ValueError for a wrong shape."""
        prepared = self.prepare(image)
        channels = self.config.n_channels
        fits = prepared.dim() == 4 and prepared.shape[1] == channels
        if not fits or any(side % self.patch for side in prepared.shape[2:]):
            raise ValueError(
                f"an image of shape {tuple(prepared.shape)} does not fit a tokenizer of (batch, {channels}, height, "
                f"width) with sides that are multiples of {self.patch}"
            )
        latents: Tensor = self.quant_proj(self.encoder(prepared))
        return latents

    def encode(self, image: Tensor) -> Tensor:
        """Image as in `prepare` -> tokens int64 (B, h, w), each in [0, K). Raises ValueError for a wrong shape."""
        return self.quantize.assign(self.latents(image))


class ImageVQVAE(ImageTokenizer):
    """Tokenizer of images or maps that decodes in a single pass.

    It decodes to `n_labels` logits per pixel if it has labels, else to `n_channels`; without `patch_proj` to a map
    with one position per token.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        shape = parse_vit(config.dec_type, "dec", post_mlp=config.post_mlp)
        self.post_quant_proj = nn.Conv2d(config.latent_dim, shape.dim, 1)
        patch = config.decoder_patch if config.patch_proj else 1
        channels = config.n_labels or config.n_channels
        self.decoder = ViTDecoder(shape, channels, config.decoder_grid, patch, out_conv=config.out_conv)

    def decode_tokens(self, tokens: Tensor) -> Tensor:
        """Tokens int (B, h, w) -> images or maps float (B, C, H, W)."""
        return self.decode_latents(self.quantize.lookup(tokens))

    def decode_probabilities(self, probabilities: Tensor) -> Tensor:
        """Soft tokens float (B, h, w, K), each row summing to 1 -> images or maps float (B, C, H, W)."""
        return self.decode_latents(self.quantize.expected_values(probabilities))

    def decode_latents(self, values: Tensor) -> Tensor:
        """Quantised latents float (B, L, h, w) -> images or maps float (B, C, H, W)."""
        image: Tensor = self.decoder(self.post_quant_proj(values))
        return image


class ImageDecoder(nn.Module):
    """Decoding half of an `ImageVQVAE`: its codes (K, L) and decoder.

    B batch, C channels or labels, H x W pixels, h x w tokens, K codes, L latent width.
    """

    codes: Tensor

    def __init__(self, tokenizer: ImageVQVAE) -> None:
        super().__init__()
        self.config = tokenizer.config
        self.register_buffer("codes", tokenizer.quantize.codes)
        self.post_quant_proj = tokenizer.post_quant_proj
        self.decoder = tokenizer.decoder

    def decode_tokens(self, tokens: Tensor) -> Tensor:
        """See `ImageVQVAE.decode_tokens`: int (B, h, w) -> float (B, C, H, W)."""
        return self.decode_codes(F.embedding(tokens, self.codes))

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Codes, or interpolations between codes: float (B, h, w, L) -> float (B, C, H, W)."""
        # (B, h, w, L) -> (B, L, h, w)
        image: Tensor = self.decoder(self.post_quant_proj(codes.movedim(-1, 1)))
        return image


_MAX_UINT8 = 255


def images_to_uint8(images: Tensor) -> npt.NDArray[np.uint8]:
    """Pictures, normals or edges float (B, C, H, W), clipped to [-1, 1] -> uint8 (B, H, W, C)."""
    # (B, C, H, W) -> (B, H, W, C)
    unit = ((images.float() + 1) / 2).clamp(0, 1).movedim(1, -1)
    return (unit * _MAX_UINT8).round().cpu().numpy().astype(np.uint8)


def logits_to_labels(logits: Tensor) -> npt.NDArray[np.uint8]:
    """Logits float (B, labels <= 256, H, W) -> best labels uint8 (B, H, W); 0 is none, class k is k + 1."""
    return logits.argmax(dim=1).cpu().numpy().astype(np.uint8)


def logits_to_masks(logits: Tensor) -> npt.NDArray[np.bool_]:
    """Mask logits float (B, 1, H, W) -> bool (B, H, W), True where the instance is more likely than not."""
    return np.asarray((logits[:, 0] > 0).cpu().numpy())
