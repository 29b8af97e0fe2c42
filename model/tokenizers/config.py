"""Configuration of a tokenizer, as stored in its checkpoint's metadata. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from anyseek.model.network.config import ConfigInvalid, select_fields

DIFFUSION_DECODER = "unet_patched"

# A published config does not name its class; these keys identify a diffusion decoder.
_DIFFUSION_KEYS = frozenset({"beta_schedule", "prediction_type"})


@dataclass(frozen=True)
class TokenizerConfig:
    """Architecture of a tokenizer; the names are the metadata keys of published checkpoints.

    `n_channels` is the length of a vector, or the channels of an image or map; with `n_labels`, images are label ids
    that are embedded into `n_channels`. Each of `num_codebooks` has `codebook_size` codes; `latent_dim` is their total
    width. Sizes are pixels a side; None in an encoder or decoder size means `image_size` or `patch_size`. Without
    `patch_proj` each position of a map is a patch. `undo_std` means that images are standardised by ImageNet's mean
    and deviation. The keys from `scheduler` on are for diffusion decoders; `unet_width` and `unet_blocks` (per level)
    are extensions whose defaults give the published architecture.

    Keys for training and resuming (`ema_decay`, `ckpt_path`, `masked_cfg`, …) are ignored like unknown ones.
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
        """Whether the decoder is a diffusion (class `DiVAE`) and not a single pass."""
        return self.dec_type == DIFFUSION_DECODER

    @property
    def encoder_grid(self) -> int:
        """Tokens a side at the encoder's configured image size."""
        return (self.image_size_enc or self.image_size) // self.patch_size

    @property
    def decoder_patch(self) -> int:
        """Pixels a side per token of a ViT decoder with `patch_proj`."""
        return self.patch_size_dec or self.patch_size

    @property
    def decoder_grid(self) -> int:
        """Tokens a side at the decoder's configured image size."""
        return (self.image_size_dec or self.image_size) // self.decoder_patch

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Self:
        """Build the config from parsed values. Raises `ConfigInvalid` for a value of the wrong type."""
        implied = {"dec_type": DIFFUSION_DECODER} if _DIFFUSION_KEYS & values.keys() else {}
        return cls(**select_fields(cls, implied | dict(values)))

    def to_metadata(self) -> dict[str, str]:
        """Metadata strings from which `parse_metadata` and `from_values` restore this config."""
        return {key: str(value) for key, value in asdict(self).items()}
