"""The shape of a tokenizer, as stored in its checkpoint's metadata. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from anyseek.model.network.config import ConfigInvalid, select_fields

DIFFUSION_DECODER = "unet_patched"

# A published config names no class; it has these keys where the decoder is a diffusion.
_DIFFUSION_KEYS = frozenset({"beta_schedule", "prediction_type"})


@dataclass(frozen=True)
class TokenizerConfig:
    """The shape of a tokenizer; the names are the metadata keys of published checkpoints.

    `n_channels` is the length of a vector, or the channels of an image or map; with `n_labels`, images are ids that
    are embedded into `n_channels`. `codebook_size` codes in each of `num_codebooks`, `latent_dim` wide together.
    Sizes are pixels a side; those of the encoder and decoder are `image_size` and `patch_size` where they are None,
    and without `patch_proj` a position of the map already is a patch. `undo_std` says that images come with
    ImageNet's mean and deviation taken out. The keys from `scheduler` on belong to diffusion decoders; `unet_width` and
    `unet_blocks` (a level) are our own and leave the published shape where they are absent.

    Keys that only training or resuming reads (`ema_decay`, `ckpt_path`, `masked_cfg`, …) are ignored like unknown ones.
    """

    n_channels: int = 3
    enc_type: str = "vit_b_enc"
    dec_type: str = "vit_b_dec"
    quant_type: str = "lucid"
    codebook_size: int = 16_384
    num_codebooks: int = 1
    latent_dim: int = 32
    norm_codes: bool = True
    norm_latents: bool = False
    n_labels: int | None = None
    image_size: int = 224
    image_size_enc: int | None = None
    image_size_dec: int | None = None
    patch_size: int = 16
    patch_size_dec: int | None = None
    patch_proj: bool = True
    post_mlp: bool = False
    out_conv: bool = False
    undo_std: bool = False
    scheduler: str = "ddpm"
    num_train_timesteps: int = 1000
    beta_schedule: str = "squaredcos_cap_v2"
    zero_terminal_snr: bool = True
    prediction_type: str = "v_prediction"
    clip_sample: bool = False
    thresholding: bool = True
    conditioning: str = "concat"
    unet_width: int = 256
    unet_blocks: int = 3

    def __post_init__(self) -> None:
        sizes = ("n_channels", "codebook_size", "num_codebooks", "latent_dim", "image_size", "patch_size")
        for name in (*sizes, "num_train_timesteps", "unet_width", "unet_blocks"):
            if getattr(self, name) < 1:
                raise ConfigInvalid(f"config key {name!r} must be 1 or more, not {getattr(self, name)}")

    @property
    def is_diffusion(self) -> bool:
        """Whether tokens are decoded by a diffusion (class DiVAE) rather than in one pass (VQVAE)."""
        return self.dec_type == DIFFUSION_DECODER

    @property
    def encoder_grid(self) -> int:
        """Tokens a side of an image of the encoder's own size."""
        return (self.image_size_enc or self.image_size) // self.patch_size

    @property
    def decoder_patch(self) -> int:
        """Pixels a side that a token becomes in a ViT decoder with `patch_proj`."""
        return self.patch_size_dec or self.patch_size

    @property
    def decoder_grid(self) -> int:
        """Tokens a side of an image of the decoder's own size."""
        return (self.image_size_dec or self.image_size) // self.decoder_patch

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Self:
        """The config from values already parsed. Raises `ConfigInvalid` for a value of another type."""
        implied = {"dec_type": DIFFUSION_DECODER} if _DIFFUSION_KEYS & values.keys() else {}
        return cls(**select_fields(cls, implied | dict(values)))

    def to_metadata(self) -> dict[str, str]:
        """The metadata strings that `parse_metadata` and `from_values` read back to this config."""
        return {key: str(value) for key, value in asdict(self).items()}
