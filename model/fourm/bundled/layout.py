"""The inputs and outputs of bundled networks such as `4m-tiny`. Does not import torch."""

from dataclasses import dataclass

from anyseek.model.modalities.registry import DECLARED, MODALITIES, Content

PICTURE, DRAWING, CAPTION, PALETTE = "picture_map", "drawing_map", "caption_states", "color_palette"
VISUAL, SEMANTIC = "visual_global", "semantic_global"
MAX_CAPTION_TOKENS = 24  # tokens of a caption that the network sees; its sentence vector is made of up to 64


@dataclass(frozen=True)
class BundledInput:
    """The input of a bundled network for a modality: its checkpoint key, whose row in the network decides the form.

    Pixels are EfficientNet-Lite0's projected map of the value, rendered as a picture. Sequence embeddings are MiniLM's
    states of a text. Sequences are the value's text in the bundle's own vocabulary, followed by `ending`: `[EOS]` means
    that nothing is missing, `[S_1]` that something may be. If `is_seen`, EfficientNet-Lite0 sees the value and its
    pooled vector is the input's own vector.
    """

    key: str
    is_seen: bool = False
    ending: str = ""


# By modality; a network takes those whose key is among its `domains_in`.
INPUTS: dict[str, BundledInput] = {
    "rgb": BundledInput(PICTURE, is_seen=True),
    "canny_edge": BundledInput(DRAWING, is_seen=True),
    "depth": BundledInput("depth_map", is_seen=True),
    "normal": BundledInput("normal_map", is_seen=True),
    "semseg": BundledInput("semseg_map", is_seen=True),
    "bounding_boxes": BundledInput("boxes_map", is_seen=True),
    "caption": BundledInput(CAPTION),
    "color_palette": BundledInput(PALETTE, is_seen=True, ending="[EOS]"),
    "metadata": BundledInput("metadata", ending="[S_1]"),
    **{name: BundledInput(f"{name}_map", is_seen=True) for name in DECLARED},
}
TEXTS = ("caption", "color_palette", "metadata")  # what may be predicted as text, by modality and key
_IMAGES = (Content.PICTURE, Content.DRAWING, Content.DEPTH, Content.NORMAL, Content.REGIONS)
# Modalities that can be predicted as tokens of an image tokenizer, with the network's key.
DENSE = {name: f"tok_{name}" for name, modality in MODALITIES.items() if modality.content in _IMAGES}
