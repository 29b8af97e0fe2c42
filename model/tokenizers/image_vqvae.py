"""The tokenizers of label maps, feature maps and instance masks: a ViT encoder, lucid codes, a ViT decoder."""

import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_tokenizer import ImageTokenizer
from anyseek.model.tokenizers.vit import ViTDecoder, parse_vit


class ImageVQVAE(ImageTokenizer):
    """Images or maps to tokens and back in one pass.

    It decodes to `n_labels` logits a pixel where it has labels, else to `n_channels`; without `patch_proj` to a map
    with one position a token.
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
    """The codes (K, L) and the decoder of an `ImageVQVAE`, without what only encoding and training need.

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
        """Codes or what lies between them: float (B, h, w, L) -> float (B, C, H, W)."""
        # (B, h, w, L) -> (B, L, h, w)
        image: Tensor = self.decoder(self.post_quant_proj(codes.movedim(-1, 1)))
        return image
