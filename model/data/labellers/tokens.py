"""Token labeller: encodes a modality with a tokenizer into the codes that 4M networks are trained on.

The tokenizer is a published one, named by an installed network, or one in a file.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyseek.model.checkpoints.files import load_tokenizer, weights_digest
from anyseek.model.config import Config
from anyseek.model.data.errors import RecipeInvalid, SampleInvalid
from anyseek.model.data.registry import BuildSettings, Labeller, LabellerKind
from anyseek.model.data.samples import DataSample
from anyseek.model.fourm.codecs import FeatureTokenCodec, ImageTokenCodec, VectorTokenCodec
from anyseek.model.fourm.published.loading import InstalledTokenizers, installed_config
from anyseek.model.fourm.published.modalities import target_form
from anyseek.model.fourm.published.names import published
from anyseek.model.fourm.published.store import installed
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.registry import Content, field_content
from anyseek.model.network.config import ConfigInvalid, ModalityConfig
from anyseek.model.tokenizers.inputs import InputKind, input_kind, tokenizer_input

_TokenCodec = ImageTokenCodec | FeatureTokenCodec | VectorTokenCodec


class TokenOptions(Config):
    """`of` is the modality; `model` is the installed network whose tokenizer and grid are used.

    `tokenizer` is the file of a tokenizer to use instead. It takes pictures of `size` pixels a side, by default its own
    size: their central squares or, for drawings with `whole`, the whole drawing padded to a square, as the encoders of
    the bundled networks do.
    """

    of: str
    model: str = "4M-21_B"
    tokenizer: Path | None = None
    size: int | None = None
    whole: bool = False


def tokens(options: TokenOptions, settings: BuildSettings) -> Labeller:
    """Labeller of `tok_<of>` int32 (n,): the codes, row by row.

    Raises `UnknownModel`, `UnsupportedModality`, `RecipeInvalid`, and the errors of loading weights.
    """
    field = options.of
    if options.tokenizer is not None:
        encode = _file_encoder(options, options.tokenizer)
    else:
        codec, row = _published_codec(options, settings)
        encode = partial(codec.encode, InstalledTokenizers(settings.home), row)

    @torch.inference_mode()
    def label(sample: DataSample) -> dict[str, Any]:
        try:
            codes = encode(sample.values[field])
        except FormatInvalid as error:
            raise SampleInvalid(f"its {field} has no tokens: {error}") from error
        return {f"tok_{field}": codes.numpy().astype(np.int32)}

    return Labeller(f"tokens of {field}", label, {field})


def _file_encoder(options: TokenOptions, path: Path) -> Callable[[Any], Tensor]:
    """Encoder of values as codes int64 (n,) by the tokenizer in a file. Raises `RecipeInvalid` if it does not apply."""
    tokenizer = load_tokenizer(path)
    try:
        kind = input_kind(options.of, tokenizer.config)
    except ConfigInvalid as error:
        raise RecipeInvalid(f"tokens of {options.of} by {path}: {error}") from error
    if kind is InputKind.MASK:
        raise RecipeInvalid(
            f"tokens of {options.of}: a sample has any number of instances, so it has no single grid of tokens"
        )
    size = options.size or tokenizer.config.image_size
    if kind in (InputKind.PICTURE, InputKind.LABELS) and size % tokenizer.config.patch_size:
        raise RecipeInvalid(f"tokens of {options.of}: size must be a multiple of {tokenizer.config.patch_size}")
    if options.whole and field_content(options.of) is not Content.DRAWING:
        raise RecipeInvalid(f"tokens of {options.of}: only drawings can be encoded whole")

    def encode(value: Any) -> Tensor:
        if options.whole:  # a drawing uint8 (H, W), in the middle of a square
            padding = [max(value.shape) - side for side in value.shape]
            value = np.pad(value, [(count // 2, count - count // 2) for count in padding])
        image = tokenizer_input(options.of, value, tokenizer.config, size)
        return tokenizer.encode(torch.from_numpy(image)[None])[0].flatten()

    return encode


def _published_codec(options: TokenOptions, settings: BuildSettings) -> tuple[_TokenCodec, ModalityConfig]:
    if options.whole:
        raise RecipeInvalid(
            f"tokens of {options.of}: whole needs tokenizer, because published networks see only the centre"
        )
    config = installed_config(options.model, settings.home)
    form = target_form(config, options.of, options.model)
    if not isinstance(form.codec, _TokenCodec):
        raise RecipeInvalid(f"tokens of {options.of}: it is a text in {options.model}, which needs no tokenizer")
    return form.codec, config.row(form.key)


def _check_options(options: TokenOptions, settings: BuildSettings) -> str:
    """Identifies the tokenizer and, if a network names it, the network."""
    if options.tokenizer is not None:
        _file_encoder(options, options.tokenizer)
        crop = " of the whole" if options.whole else ""
        return f"tokenizer {weights_digest(options.tokenizer)[:16]} at {options.size or 'its own size'}{crop}"
    codec, row = _published_codec(options, settings)
    network, tokenizer = (installed(name, settings.home) for name in (published(options.model).name, codec.tokenizer))
    return f"{row.key} of {network.fingerprint[:16]}, tokenizer {tokenizer.fingerprint[:16]}"


TOKENS = LabellerKind(tokens, TokenOptions, _check_options)
