"""Images that bundled networks predict: their tokens, the decoder that makes an image of them, and the resulting value.

A bundle stores the decoder of the modality `depth` in `depth.safetensors`. `dense_shortcuts.safetensors` holds what the
inputs' feature maps add to the codes that the network expects. The manifest names the classes of label maps.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.checkpoints.files import load_image_decoder
from model.errors import WeightsCorrupt
from model.fourm.bundled.dense_shortcuts import DenseShortcut, DenseShortcuts, best_of, load_dense_shortcuts
from model.fourm.bundled.layout import DENSE, INPUTS
from model.fourm.codecs import Decoded, Diffusing, Tokenizers
from model.fourm.images import ToValue, depth_of, drawing_of, picture_of
from model.modalities.registry import MODALITIES, Content
from model.network.config import EmbeddingKind, FourMConfig, ModalityConfig
from model.seam import Regions, Value
from model.tokenizers.config import TokenizerConfig
from model.tokenizers.image_vqvae import ImageDecoder
from model.tokenizers.outputs import logits_to_labels

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
    """A modality that a bundle predicts as an image; an `ExpectingDecoder` of its tokens.

    `classes` are the label names of a label map. `shortcuts` holds each input's shortcut.
    """

    modality: str
    decoder: ImageDecoder
    classes: Mapping[int, str]
    shortcuts: Mapping[str, DenseShortcut] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """The number of values in all codes of an image together."""
        return self.decoder.config.decoder_grid**2 * self.decoder.codes.shape[1]

    @property
    def seen_inputs(self) -> Collection[str]:
        """See `ExpectingDecoder.seen_inputs`."""
        return self.shortcuts.keys()

    def decode(self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        """See `TokenDecoder.decode`."""
        return Decoded(self.value(tokens.view(row.grid or (-1,))))

    @torch.inference_mode()
    def value(self, tokens: Tensor) -> Value:
        """The value of tokens int64 (h, w): see `model.modalities.registry.Content`."""
        return self._value(self.decoder.decode_tokens(tokens[None]))

    @torch.inference_mode()
    def expected(self, probabilities: Tensor, maps: Mapping[str, Tensor]) -> Value:
        """See `ExpectingDecoder.expected`."""
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


def file_of(modality: str) -> str:
    """The name of the file of a modality's decoder."""
    return f"{modality}.safetensors"


def predicted_densely(config: FourMConfig) -> tuple[str, ...]:
    """The modalities that a network predicts as tokens of images."""
    return tuple(name for name, key in DENSE.items() if key in config.domains_out)


def load_dense(folder: Path, manifest: Mapping[str, Any], config: FourMConfig) -> dict[str, DenseTarget]:
    """Load the targets that a bundle's network predicts as images, by modality.

    Raises `WeightsCorrupt` if a decoder is missing or its tokens differ from the network's, or if shortcuts belong to
    something else. Also raises what `load_image_decoder` raises.
    """
    found = {}
    shortcuts = load_dense_shortcuts(folder / DENSE_SHORTCUTS) if DENSE_SHORTCUTS in manifest["files"] else {}
    for name in predicted_densely(config):
        if file_of(name) not in manifest["files"]:
            raise WeightsCorrupt(f"{folder} lists no file {file_of(name)}, which the network's predictions need")
        decoder = load_image_decoder(folder / file_of(name))
        if difference := token_difference(config.row(DENSE[name]), decoder.config):
            raise WeightsCorrupt(f"{folder / file_of(name)} {difference}")
        classes = {int(number): label for number, label in manifest.get(CLASSES, {}).get(name, {}).items()}
        found[name] = DenseTarget(name, decoder, classes, shortcuts.get(name, {}))
    _check_shortcuts(shortcuts, found, config, folder / DENSE_SHORTCUTS)
    return found


def map_row(config: FourMConfig, modality: str) -> ModalityConfig | None:
    """The network's row for a modality's feature map; None if the network takes no such map."""
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
    """Describe how the tokens of a network's row differ from a tokenizer's; empty if they match."""
    side = tokenizer.decoder_grid
    if (row.vocabulary, row.grid) == (tokenizer.codebook_size, (side, side)):
        return ""
    rows, columns = row.grid or (0, 0)
    return (
        f"makes {side} x {side} tokens of {tokenizer.codebook_size} codes; "
        f"the network's {row.key} has {rows} x {columns} of {row.vocabulary}"
    )
