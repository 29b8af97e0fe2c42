"""What goes into and comes out of bundled networks such as `4m-tiny`. Imports no torch."""

from dataclasses import dataclass

from model.modality import DECLARED, MODALITIES, Content

PICTURE, DRAWING, CAPTION, PALETTE = "picture_map", "drawing_map", "caption_states", "color_palette"
VISUAL, SEMANTIC = "visual_global", "semantic_global"
LONGEST_CAPTION = 24  # tokens of a caption that the network sees; its sentence vector is made of up to 64


@dataclass(frozen=True)
class TinyInput:
    """How a modality enters a bundled network: under which key, and as what the network's row for that key says.

    Pixels are the projected map that EfficientNet-Lite0 makes of the value rendered as a picture, sequence embeddings
    MiniLM's states of a text, sequences the value's text in the bundle's own vocabulary with `ending` behind it:
    `[EOS]` says that nothing is missing, `[S_1]` that something may be. `is_seen` says whether EfficientNet-Lite0 sees
    the value, so that its pooled vector is the input's own vector.
    """

    key: str
    is_seen: bool = False
    ending: str = ""


# By modality; a network takes those whose key is among its `domains_in`.
INPUTS: dict[str, TinyInput] = {
    "rgb": TinyInput(PICTURE, is_seen=True),
    "canny_edge": TinyInput(DRAWING, is_seen=True),
    "depth": TinyInput("depth_map", is_seen=True),
    "normal": TinyInput("normal_map", is_seen=True),
    "semseg": TinyInput("semseg_map", is_seen=True),
    "bounding_boxes": TinyInput("boxes_map", is_seen=True),
    "caption": TinyInput(CAPTION),
    "color_palette": TinyInput(PALETTE, is_seen=True, ending="[EOS]"),
    "metadata": TinyInput("metadata", ending="[S_1]"),
    **{name: TinyInput(f"{name}_map", is_seen=True) for name in DECLARED},
}
TEXTS = ("caption", "color_palette", "metadata")  # what may be predicted as text, by modality and key
_IMAGES = (Content.PICTURE, Content.DRAWING, Content.DEPTH, Content.NORMAL, Content.REGIONS)
# What may be predicted as tokens of an image tokenizer: by modality the network's key.
DENSE = {name: f"tok_{name}" for name, modality in MODALITIES.items() if modality.content in _IMAGES}
