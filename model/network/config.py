"""Configuration of a 4M network: one row per modality, and a checkpoint's config metadata. Does not import torch.

A checkpoint's metadata holds one string per config key (the `str()` of a Python value); unknown keys are ignored.
The extra key `modalities` maps a checkpoint key to the fields of a `ModalityConfig`, so a checkpoint can add modalities
or redefine a published one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Self, get_args, get_origin

import yaml

from anyseek.model.errors import ModelError

# Length of the position table of every sequence, whatever its `max_length`.
SEQUENCE_POSITIONS = 512

_MAX_PARSED_LENGTH = 10_000
# The libyaml loader, if PyYAML was built with it, takes a tenth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ConfigInvalid(ModelError):
    """A checkpoint's config lacks a key or has a value that is invalid for the network."""

    code = "config-invalid"


class EmbeddingKind(StrEnum):
    """How a modality is embedded as tokens."""

    PIXELS = "pixels"  # float (B, channels, H, W), cut into patches; input only
    IMAGE_TOKENS = "image_tokens"  # int (B, n) codes of a tokenizer
    SEQUENCE = "sequence"  # int (B, n) ids of a text tokenizer
    SEQUENCE_EMBEDDING = "sequence_embedding"  # float (B, n, width) vectors from another network; input only


@dataclass(frozen=True)
class ModalityConfig:
    """One modality of a checkpoint.

    `grid` (rows, columns) and `patch` (pixels a side) are for pixels and image tokens; None derives them from the
    checkpoint's `image_size` and `patch_size`. `channels` is for pixels, `vocabulary` for ids, `width` for sequence
    embeddings, `max_length` (at most 512) for both kinds of sequence: target entries from that index on have
    position 0. `most_tokens` is the most tokens a sequence may have, 0 for `max_length`.
    `learned_positions` makes the position table of an image modality a trained parameter instead of the sin-cos table.
    """

    key: str
    kind: EmbeddingKind
    grid: tuple[int, int] | None = None
    patch: int | None = None
    channels: int = 3
    vocabulary: int = 0
    width: int = 0
    max_length: int = 0
    most_tokens: int = 0
    learned_positions: bool = False

    @property
    def is_image(self) -> bool:
        """Whether its tokens form a grid, each with a fixed position."""
        return self.kind in (EmbeddingKind.PIXELS, EmbeddingKind.IMAGE_TOKENS)

    @property
    def tokens(self) -> int:
        """Number of tokens of an image modality: rows x columns."""
        if self.grid is None:
            raise ConfigInvalid(f"{self.key} has no grid; use the row that FourMConfig.row returns")
        return self.grid[0] * self.grid[1]

    @property
    def longest(self) -> int:
        """The most tokens of a sequence, as an input or decoded."""
        return self.most_tokens or self.max_length

    @property
    def identifier(self) -> int:
        """Modality number in token masks: int(sha256(key)) mod 2^15."""
        return int(hashlib.sha256(self.key.encode()).hexdigest(), 16) % 2**15

    def validated(self) -> Self:
        """This row. Raises `ConfigInvalid` naming a field that is missing or out of range for its kind."""
        required = {
            EmbeddingKind.PIXELS: {"channels": self.channels},
            EmbeddingKind.IMAGE_TOKENS: {"vocabulary": self.vocabulary},
            EmbeddingKind.SEQUENCE: {"vocabulary": self.vocabulary, "max_length": self.max_length},
            EmbeddingKind.SEQUENCE_EMBEDDING: {"width": self.width, "max_length": self.max_length},
        }[self.kind]
        for name, value in required.items():
            if value < 1:
                raise ConfigInvalid(f"modality {self.key!r} ({self.kind}) needs {name} of 1 or more, not {value}")
        for name, length in {"max_length": self.max_length, "most_tokens": self.most_tokens}.items():
            if not 0 <= length <= SEQUENCE_POSITIONS:
                raise ConfigInvalid(f"modality {self.key!r} has {name} {length}; at most {SEQUENCE_POSITIONS}")
        return self

    @classmethod
    def from_fields(cls, key: str, values: object) -> Self:
        """Build a row from its fields in a checkpoint. Raises `ConfigInvalid`."""
        if not isinstance(values, Mapping):
            raise ConfigInvalid(f"modality {key!r} must map field names to values, not be {values!r}")
        known = {f.name for f in fields(cls)} - {"key"}
        if unknown := set(values) - known:
            raise ConfigInvalid(f"modality {key!r} has unknown fields {sorted(map(str, unknown))}")
        row = dict(values)
        try:
            row["kind"] = EmbeddingKind(row.get("kind", ""))
            if row.get("grid") is not None:
                rows, columns = row["grid"]
                row["grid"] = (int(rows), int(columns))
            return cls(key, **row).validated()
        except (TypeError, ValueError) as error:
            raise ConfigInvalid(f"modality {key!r} has a malformed row: {error}") from error


def _pixels(key: str, side: int) -> ModalityConfig:
    return ModalityConfig(key, EmbeddingKind.PIXELS, (side, side), 16)


def _image_tokens(key: str, vocabulary: int, side: int = 14, *, learned: bool = False) -> ModalityConfig:
    kind = EmbeddingKind.IMAGE_TOKENS
    return ModalityConfig(key, kind, (side, side), vocabulary=vocabulary, learned_positions=learned)


def _sequence(key: str, max_length: int, most_tokens: int = 0) -> ModalityConfig:
    kind = EmbeddingKind.SEQUENCE
    return ModalityConfig(key, kind, vocabulary=30_000, max_length=max_length, most_tokens=most_tokens)


# The modalities of the published checkpoints 4M-7, 4M-7-SR and 4M-21.
PUBLISHED_MODALITIES: dict[str, ModalityConfig] = {
    row.key: row
    for row in (
        _pixels("rgb@224", 14),
        _pixels("rgb@448", 28),
        _image_tokens("tok_rgb@224", 16_384),
        _image_tokens("tok_rgb@448", 16_384, 28),
        _image_tokens("tok_depth@224", 8192),
        _image_tokens("tok_depth@448", 8192, 28),
        _image_tokens("tok_normal@224", 8192),
        _image_tokens("tok_normal@448", 8192, 28),
        _image_tokens("tok_semseg@224", 4096),
        _image_tokens("tok_semseg@448", 4096, 28),
        _image_tokens("tok_clip@224", 8192),
        _image_tokens("tok_clip@448", 8192, 28),
        _image_tokens("tok_canny_edge@224", 8192),
        _image_tokens("tok_sam_edge@224", 8192),
        _image_tokens("tok_dinov2@224", 8192, 16),
        _image_tokens("tok_imagebind@224", 8192, 16),
        _image_tokens("tok_dinov2_global", 8192, 4, learned=True),
        _image_tokens("tok_imagebind_global", 8192, 4, learned=True),
        _sequence("caption", 256),
        _sequence("det", 256),
        _sequence("metadata", 40),
        _sequence("color_palette", 23),
        _sequence("human_poses", 263, 275),
        _sequence("sam_instance", 290),
        ModalityConfig("t5_caption", EmbeddingKind.SEQUENCE_EMBEDDING, width=4096, max_length=77),
    )
}


def parse_metadata(metadata: Mapping[str, str]) -> dict[str, object]:
    """Parse a checkpoint's metadata strings.

    `None` becomes `null`, then each string is read as YAML 1.1; a string that is not YAML, or longer than 10,000
    characters, stays unchanged. So `'1e-06'` and `"('a', 'b')"` stay strings.
    """
    return {key: _parse_value(text) for key, text in metadata.items()}


def _parse_value(text: str) -> object:
    if len(text) > _MAX_PARSED_LENGTH:
        return text
    try:
        value: object = yaml.load(text.replace("None", "null"), _LOADER)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    return value


def select_fields(config_class: type[Any], values: Mapping[str, object]) -> dict[str, Any]:
    """Select and type-check the entries of `values` that are fields of `config_class`.

    Lists of strings become tuples. Raises `ConfigInvalid` naming the key. Unknown keys are ignored.
    """
    selected: dict[str, Any] = {}
    for spec in fields(config_class):
        if spec.name not in values:
            continue
        value = values[spec.name]
        if get_origin(spec.type) is tuple:
            valid = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
            value = tuple(value) if isinstance(value, list | tuple) else value
        elif spec.type is float:
            valid = isinstance(value, int | float) and not isinstance(value, bool)
        else:
            valid = type(value) in (get_args(spec.type) or (spec.type,))
        if not valid:
            expected = getattr(spec.type, "__name__", str(spec.type))
            raise ConfigInvalid(f"config key {spec.name!r} must be {expected}, not {value!r}")
        selected[spec.name] = value
    return selected


@dataclass(frozen=True)
class FourMConfig:
    """Architecture of one 4M encoder-decoder; the names are the metadata keys of published checkpoints.

    `domains_in` and `domains_out` list the modalities with an encoder and a decoder embedding. `modalities` are the
    checkpoint's own rows, which override the published ones. `tie_token_embeddings` shares one tensor between the
    `to_logits` and `token_emb` of each decoder embedding, as the reference did in training.
    """

    domains_in: tuple[str, ...]
    domains_out: tuple[str, ...]
    image_size: int = 224
    patch_size: int = 16
    dim: int = 768
    encoder_depth: int = 12
    decoder_depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    act_layer: str = "SiLU"
    gated_mlp: bool = False
    norm_bias: bool = True
    qkv_bias: bool = True
    proj_bias: bool = True
    mlp_bias: bool = True
    qk_norm: bool = False
    decoder_causal_mask: bool = False
    decoder_sep_mask: bool = True
    num_register_tokens: int = 0
    share_modality_embeddings: bool = True
    tie_token_embeddings: bool = False
    modalities: Mapping[str, ModalityConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dim % self.num_heads or self.dim % 4:
            raise ConfigInvalid(f"dim {self.dim} must be a multiple of 4 and of num_heads {self.num_heads}")
        for key in (*self.domains_in, *self.domains_out):
            self.row(key)

    def row(self, key: str) -> ModalityConfig:
        """The row of modality `key` with its grid and patch filled in. Raises `ConfigInvalid` for an unknown key."""
        row = self.modalities.get(key) or PUBLISHED_MODALITIES.get(key)
        if row is None:
            raise ConfigInvalid(f"no modality row for {key!r}; add it under the metadata key 'modalities'")
        if not row.is_image:
            return row
        patch = row.patch or self.patch_size
        side = self.image_size // patch
        return replace(row, patch=patch, grid=row.grid or (side, side))

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Self:
        """Build the config from parsed values. Raises `ConfigInvalid` for a missing required key."""
        required = ("domains_in", "domains_out", "image_size", "patch_size", "norm_bias", "act_layer")
        if missing := [key for key in required if key not in values]:
            raise ConfigInvalid(f"the config of a 4M network lacks {', '.join(missing)}")
        rows = values.get("modalities") or {}
        if not isinstance(rows, Mapping):
            raise ConfigInvalid("config key 'modalities' must map checkpoint keys to row fields")
        modalities = {str(key): ModalityConfig.from_fields(str(key), row) for key, row in rows.items()}
        others = {key: value for key, value in values.items() if key != "modalities"}
        return cls(**select_fields(cls, others), modalities=modalities)

    def to_metadata(self) -> dict[str, str]:
        """Metadata strings from which `parse_metadata` and `from_values` restore this config."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "modalities"}
        texts = {key: str(list(v) if isinstance(v, tuple) else v) for key, v in values.items()}
        if self.modalities:
            rows = {key: asdict(row) for key, row in self.modalities.items()}
            for row in rows.values():
                del row["key"]
            texts["modalities"] = json.dumps(rows)
        return texts
