"""Images that bundled models predict, and the resulting values.

From an input that can be rendered as a picture, an image is decoded from what the image encoder sees of it
(`anyseek.model.fourm.bundled.dense_decoder`). From all others, the network predicts tokens; a bundle stores the decoder
of the tokens of `depth` in `depth.safetensors`. The manifest names the classes of label maps.
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
from anyseek.model.fourm.codecs import Decoded, Diffusing, Tokenizers
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
    """A modality that a bundle predicts as an image; a `TokenDecoder`, also by the probabilities of all codes.

    `decoder` loads what decodes, once; queries and items need none. `classes` are the label names of a label map.
    """

    modality: str
    decoder: Callable[[], ImageDecoder]
    classes: Mapping[int, str]

    def decode(self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        return Decoded(self.value(tokens.view(row.grid or (-1,))))

    @torch.inference_mode()
    def value(self, tokens: Tensor) -> Value:
        """The value of tokens int64 (h, w): see `anyseek.model.modalities.registry.Content`."""
        return self.value_of(self.decoder().decode_tokens(tokens[None]))

    @torch.inference_mode()
    def expected(self, probabilities: Tensor) -> Value:
        """The value for probabilities float (h, w, K) of the codes at each position, better than of the likeliest."""
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
class SeenImages:
    """Decodes what the image encoder of `specialists` sees of an input; `targets` make values of its images."""

    decoder: DenseDecoder
    targets: Mapping[str, DenseTarget]
    specialists: Specialists

    def best_input(self, target: str, given: Collection[str]) -> str | None:
        """The modality of `given` that shows `target` best; None where it cannot be decoded from any of them."""
        return self.decoder.best_input(target, given) if target in self.targets else None

    def decode(self, target: str, modality: str, value: Value) -> Value:
        """The image of `target` for the value of an input that `best_input` named."""
        images = self.decoder.decoded_both_ways(self.specialists.levels_both_ways(modality, value), modality)
        return self.targets[target].value_of(getattr(images, target))


def file_of(modality: str) -> str:
    """The name of the file of a modality's decoder."""
    return f"{modality}.safetensors"


def predicted_densely(config: FourMConfig) -> tuple[str, ...]:
    """The modalities that a network predicts as tokens of images."""
    return tuple(name for name, key in DENSE.items() if key in config.domains_out)


def load_dense(folder: Path, manifest: Mapping[str, Any], config: FourMConfig) -> dict[str, DenseTarget]:
    """Load the targets that a bundle's network predicts as images, by modality.

    Only headers are read until something is decoded. Raises `WeightsCorrupt` if a decoder is missing or its tokens
    differ from the network's. Also raises what `read_config` raises.
    """
    targets = {}
    for name in predicted_densely(config):
        if file_of(name) not in manifest["files"]:
            raise WeightsCorrupt(f"{folder} lists no file {file_of(name)}, which the network's predictions need")
        path = folder / file_of(name)
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
