"""Labeller of tokens: a published tokenizer's codes for a modality, as the networks of 4M-21 are trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from model.config import ModalityConfig
from model.data.errors import RecipeInvalid, SampleInvalid
from model.data.registry import LabellerKind, Place
from model.data.samples import DataSample
from model.formats.spans import FormatInvalid
from model.published.codecs import FeatureTokens, ImageTokens, VectorTokens
from model.published.modalities import target_form
from model.published.model import PublishedModel, load_published
from model.published.store import installed

_TokenCodec = ImageTokens | FeatureTokens | VectorTokens


@dataclass(frozen=True)
class Options:
    """`of`: the modality; `model`: the installed network that says which tokenizer it has, and which grid."""

    of: str
    model: str = "4M-21_B"


class Tokens:
    """`tok_<of>` int32 (n,): the codes row by row."""

    def __init__(self, options: Options, place: Place) -> None:
        """Raises `UnknownModel`, `UnsupportedModality`, `RecipeInvalid`, and what loading weights raises."""
        self.name = f"tokens of {options.of}"
        self.needs = frozenset({options.of})
        self.gives = frozenset({f"tok_{options.of}"})
        self._of = options.of
        self._model, self._codec, self._row = _loaded(options, place)

    @torch.inference_mode()
    def label(self, sample: DataSample) -> Mapping[str, Any]:
        try:
            codes = self._codec.encode(self._model, self._row, sample.values[self._of])
        except FormatInvalid as error:
            raise SampleInvalid(f"its {self._of} has no tokens: {error}") from error
        return {f"tok_{self._of}": codes.numpy().astype(np.int32)}


def _loaded(options: Options, place: Place) -> tuple[PublishedModel, _TokenCodec, ModalityConfig]:
    model = load_published(options.model, place.home)
    form = target_form(model.network.config, options.of, options.model)
    if not isinstance(form.codec, _TokenCodec):
        raise RecipeInvalid(f"tokens of {options.of}: it is a text in {options.model}, which needs no tokenizer")
    return model, form.codec, model.network.config.row(form.key)


def _checked(options: Options, place: Place) -> str:
    """Which network says it, and which tokenizer does it."""
    model, codec, row = _loaded(options, place)
    return f"{row.key} of {model.fingerprint[:16]}, tokenizer {installed(codec.tokenizer, place.home).fingerprint[:16]}"


TOKENS = LabellerKind(Options, Tokens, _checked)
