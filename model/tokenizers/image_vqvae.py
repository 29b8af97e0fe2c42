"""The tokenizers of label maps, feature maps and instance masks: a ViT encoder, lucid codes, a ViT decoder."""

from torch import Tensor, nn

from model.tokenizers.config import TokenizerConfig
from model.tokenizers.image_tokenizer import ImageTokenizer
from model.tokenizers.vit import ViTDecoder, parse_vit


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
