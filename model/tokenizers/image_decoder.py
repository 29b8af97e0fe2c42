"""The half of a tokenizer of images that serving needs: from tokens to images."""

import torch.nn.functional as F
from torch import Tensor, nn

from model.tokenizers.image_vqvae import ImageVQVAE


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
