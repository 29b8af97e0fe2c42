"""What bundled networks predict pixel by pixel: tokens, the decoder that makes an image of them, the value in it.

A bundle holds the decoder of the modality `depth` in `depth.safetensors`, and in `dense_shortcuts.safetensors` what
maps of inputs add to the codes that a network expects; its manifest names the classes of label maps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.checkpoints import load_image_decoder
from model.config import EmbeddingKind, FourMConfig, ModalityConfig
from model.dense_shortcuts import DenseShortcut, DenseShortcuts, best_of, load_dense_shortcuts
from model.embedder import Regions, Value
from model.errors import WeightsCorrupt
from model.modality import MODALITIES, Content
from model.published.images import ToValue, depth_of, drawing_of, picture_of
from model.published.preprocess import centre_crop
from model.tiny import DENSE, INPUTS
from model.tokenizers.config import TokenizerConfig
from model.tokenizers.image_decoder import ImageDecoder
from model.tokenizers.outputs import logits_to_labels
from model.values import check_value

DENSE_SHORTCUTS = "dense_shortcuts.safetensors"
CLASSES = "classes"  # the manifest's key: by modality the name of each label
_VALUES: dict[Content, ToValue] = {
    Content.PICTURE: picture_of,
    Content.NORMAL: picture_of,
    Content.DRAWING: drawing_of,
    Content.DEPTH: depth_of,
}


@dataclass(frozen=True)
class DenseTarget:
    """A modality that a bundle predicts as an image.

    `classes` are the names of the labels of a label map, `shortcuts` by input what its map adds.
    """

    modality: str
    decoder: ImageDecoder
    classes: Mapping[int, str]
    shortcuts: Mapping[str, DenseShortcut] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """How many numbers the codes of an image have together."""
        return self.decoder.config.decoder_grid**2 * self.decoder.codes.shape[1]

    @torch.inference_mode()
    def value(self, tokens: Tensor) -> Value:
        """What tokens int64 (h, w) stand for: see `model.modality.Content`."""
        return self._value(self.decoder.decode_tokens(tokens[None]))

    @torch.inference_mode()
    def expected(self, probabilities: Tensor, maps: Mapping[str, Tensor]) -> Value:
        """What positions stand for of whose codes only probabilities float (h, w, K) are known, each summing to 1.

        `maps` (1, C, h, w) are those of inputs, by modality.
        """
        codes = probabilities @ self.decoder.codes
        added = best_of(self.shortcuts, maps)
        return self._value(self.decoder.decode_codes((codes if added is None else codes + added.view_as(codes))[None]))

    def _value(self, image: Tensor) -> Value:
        """An image float (1, C, H, W) as a value."""
        content = MODALITIES[self.modality].content
        if content is not Content.REGIONS:
            value: Value = _VALUES[content](image[0])
            return value
        labels = logits_to_labels(image)[0]
        present = np.unique(labels).tolist()
        return Regions(labels, {number: self.classes[number] for number in present if number in self.classes})


def central(values: Mapping[str, Value]) -> dict[str, Value]:
    """Values by modality, images cut to their central squares: what networks predict as images are of these.

    Raises `FormatInvalid` for a value that is not of its modality.
    """
    for name, value in values.items():
        check_value(MODALITIES[name], value)
    return {name: _central(value) if name in DENSE else value for name, value in values.items()}


def _central(image: Any) -> Value:
    pixels = image.ids if isinstance(image, Regions) else image
    crop = centre_crop(*pixels.shape[:2])
    square = pixels[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    return Regions(square, image.classes) if isinstance(image, Regions) else square


def file_of(modality: str) -> str:
    """The name of the file of a modality's decoder."""
    return f"{modality}.safetensors"


def predicted_densely(config: FourMConfig) -> tuple[str, ...]:
    """The modalities that a network predicts as tokens of images."""
    return tuple(name for name, key in DENSE.items() if key in config.domains_out)


def load_dense(folder: Path, manifest: Mapping[str, Any], config: FourMConfig) -> dict[str, DenseTarget]:
    """By modality what a bundle's network predicts as an image.

    Raises `WeightsCorrupt` for a decoder that is not there or is of other tokens than the network's, or shortcuts of
    something else, and what `load_image_decoder` raises.
    """
    found = {}
    shortcuts = load_dense_shortcuts(folder / DENSE_SHORTCUTS) if DENSE_SHORTCUTS in manifest["files"] else {}
    for name in predicted_densely(config):
        if file_of(name) not in manifest["files"]:
            raise WeightsCorrupt(f"{folder} lists no file {file_of(name)}, which what its network predicts needs")
        decoder = load_image_decoder(folder / file_of(name))
        if difference := token_difference(config.row(DENSE[name]), decoder.config):
            raise WeightsCorrupt(f"{folder / file_of(name)} {difference}")
        classes = {int(number): label for number, label in manifest.get(CLASSES, {}).get(name, {}).items()}
        found[name] = DenseTarget(name, decoder, classes, shortcuts.get(name, {}))
    _check_shortcuts(shortcuts, found, config, folder / DENSE_SHORTCUTS)
    return found


def map_row(config: FourMConfig, modality: str) -> ModalityConfig | None:
    """The row of the map that a network takes of a modality; None where it takes none."""
    key = INPUTS[modality].key if modality in INPUTS else ""
    row = config.row(key) if key in config.domains_in else None
    return row if row is not None and row.kind is EmbeddingKind.PIXELS and row.patch == 1 else None


def _check_shortcuts(
    shortcuts: DenseShortcuts, dense: Mapping[str, DenseTarget], config: FourMConfig, path: Path
) -> None:
    """Raise `WeightsCorrupt` for a shortcut from a map that a network does not take, or to codes that it lacks."""
    for target, by_input in shortcuts.items():
        for name, shortcut in by_input.items():
            row = map_row(config, name)
            seen, added = shortcut.down.shape[1], shortcut.up.shape[1]
            right = target in dense and added == dense[target].length
            if not right or row is None or seen % row.tokens or seen > row.tokens * row.channels:
                raise WeightsCorrupt(f"{path} has a shortcut to {target} from {name} that does not fit the network")


def token_difference(row: ModalityConfig, tokenizer: TokenizerConfig) -> str:
    """In words how the tokens of a network's row are not those of a tokenizer; empty where they are."""
    side = tokenizer.decoder_grid
    if (row.vocabulary, row.grid) == (tokenizer.codebook_size, (side, side)):
        return ""
    rows, columns = row.grid or (0, 0)
    return (
        f"makes {side} x {side} tokens of {tokenizer.codebook_size} codes; "
        f"the network's {row.key} has {rows} x {columns} of {row.vocabulary}"
    )
