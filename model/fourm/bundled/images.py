"""Images that bundled models predict, and their conversion to values.

For an input that can be rendered as a picture, the image is decoded from the image encoder's maps
(`anyseek.model.fourm.bundled.dense_decoder`). For all others, the network predicts tokens; a bundle stores the decoder
of `depth` tokens in `depth.safetensors`. The manifest names the classes of label maps.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyseek.model.checkpoints.files import load_image_decoder, read_config
from anyseek.model.errors import WeightsCorrupt
from anyseek.model.fourm.bundled.dense_decoder import DenseDecoder
from anyseek.model.fourm.bundled.layout import DENSE
from anyseek.model.fourm.codecs import DecodedValue, DiffusionOptions, Tokenizers
from anyseek.model.fourm.images import ToValue, depth_of, drawing_of, picture_of
from anyseek.model.fourm.specialists import Specialists
from anyseek.model.lazy import Lazy
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.network.config import FourMConfig, ModalityConfig
from anyseek.model.seam import Regions, Value
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_vqvae import ImageDecoder, logits_to_labels

CLASSES = "classes"  # the manifest's key: by modality the name of each label
_VALUES: dict[Content, ToValue] = {
    Content.PICTURE: picture_of,
    Content.NORMAL: picture_of,
    Content.DRAWING: drawing_of,
    Content.DEPTH: depth_of,
}


@dataclass(frozen=True)
class DenseTarget:
    """A modality that a bundle predicts as an image: a `TokenDecoder`, which also decodes code probabilities.

    `decoder` loads the image decoder lazily, since queries and items need none. `classes` names the labels of a map.
    """

    modality: str
    decoder: Callable[[], ImageDecoder]
    classes: Mapping[int, str]

    def decode(
        self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusion: DiffusionOptions
    ) -> DecodedValue:
        return DecodedValue(self.value(tokens.view(row.grid or (-1,))))

    @torch.inference_mode()
    def value(self, tokens: Tensor) -> Value:
        """The value of tokens int64 (h, w): see `anyseek.model.modalities.registry.Content`."""
        return self.value_of(self.decoder().decode_tokens(tokens[None]))

    @torch.inference_mode()
    def expected_value(self, probabilities: Tensor) -> Value:
        """The value of code probabilities float (h, w, K), which is better than that of the most probable codes."""
        decoder = self.decoder()
        return self.value_of(decoder.decode_codes((probabilities @ decoder.codes)[None]))

    def value_of(self, image: Tensor) -> Value:
        """An image float (1, C, H, W) as a value."""
        content = MODALITIES[self.modality].content
        if content is not Content.REGIONS:
            value: Value = _VALUES[content](image[0])
            return value
        labels = logits_to_labels(image)[0]
        present = np.unique(labels).tolist()
        return Regions(labels, {number: self.classes[number] for number in present if number in self.classes})


@dataclass(frozen=True)
class DenseImageDecoder:
    """Decodes images from the image encoder's maps of an input; `targets` convert these images to values."""

    decoder: DenseDecoder
    targets: Mapping[str, DenseTarget]
    specialists: Specialists

    def best_input(self, target: str, given: Collection[str]) -> str | None:
        """The modality of `given` from which `target` is decoded best; None if it is decoded from none of them."""
        return self.decoder.best_input(target, given) if target in self.targets else None

    def decode(self, target: str, modality: str, value: Value) -> Value:
        """The value of `target`, decoded from an input chosen by `best_input`."""
        images = self.decoder.decode_mirrored(self.specialists.mirrored_levels(modality, value), modality)
        return self.targets[target].value_of(getattr(images, target))


def decoder_file(modality: str) -> str:
    """The file name of a modality's image decoder."""
    return f"{modality}.safetensors"


def dense_modalities(config: FourMConfig) -> tuple[str, ...]:
    """The modalities that a network predicts as tokens of images."""
    return tuple(name for name, key in DENSE.items() if key in config.domains_out)


def load_dense(folder: Path, manifest: Mapping[str, Any], config: FourMConfig) -> dict[str, DenseTarget]:
    """Load the targets that a bundle's network predicts as images, by modality.

    Only headers are read until something is decoded. Raises `WeightsCorrupt` if a decoder is missing or its tokens
    differ from the network's. Also raises what `read_config` raises.
    """
    targets = {}
    for name in dense_modalities(config):
        if decoder_file(name) not in manifest["files"]:
            raise WeightsCorrupt(f"{folder} lists no file {decoder_file(name)}, which the network's predictions need")
        path = folder / decoder_file(name)
        if difference := token_difference(config.row(DENSE[name]), TokenizerConfig.from_values(read_config(path))):
            raise WeightsCorrupt(f"{path} {difference}")
        classes = {int(number): label for number, label in manifest.get(CLASSES, {}).get(name, {}).items()}
        targets[name] = DenseTarget(name, Lazy(partial(load_image_decoder, path)), classes)
    return targets


def token_difference(row: ModalityConfig, tokenizer: TokenizerConfig) -> str:
    """Describe how the tokens of a network's row differ from a tokenizer's; empty if they match."""
    side = tokenizer.decoder_grid
    if (row.vocabulary, row.grid) == (tokenizer.codebook_size, (side, side)):
        return ""
    rows, columns = row.grid or (0, 0)
    return (
        f"makes {side} x {side} tokens of {tokenizer.codebook_size} codes; "
        f"the network's {row.key} has {rows} x {columns} of {row.vocabulary}"
    )
