"""Where a user's words for modalities meet the checkpoint keys of published networks: one row a modality.

A modality may enter or leave a network in several forms (a picture as pixels or as tokens, at 224 or 448 pixels); a
network uses the first that it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from model.config import FourMConfig
from model.embedder import UnsupportedModality
from model.published import images, names
from model.published.codecs import Codec, FeatureTokens, ImageTokens, Pixels, States, Text, TokenCodec, VectorTokens
from model.published.details import instance_arrays, pose_arrays


@dataclass(frozen=True)
class Form:
    """A checkpoint key that holds a modality, and how values become its entries and back."""

    key: str
    codec: Codec


@dataclass(frozen=True)
class TargetForm:
    """A form that can be predicted."""

    key: str
    codec: TokenCodec


def _both_sizes(name: str, codec: Codec) -> tuple[Form, ...]:
    return Form(f"{name}@224", codec), Form(f"{name}@448", codec)


_PIXELS = Pixels(images.rgb_input)
_RGB = ImageTokens(names.RGB, images.rgb_tokenizer_input, images.picture_of)
_NORMAL = ImageTokens(names.NORMAL, images.rgb_tokenizer_input, images.picture_of)
_DEPTH = ImageTokens(names.DEPTH, images.depth_image, images.depth_of)
_SEMSEG = ImageTokens(names.SEMSEG, images.label_image, images.regions_of)
_CANNY = ImageTokens(names.EDGE, images.line_image, images.drawing_of)
_SAM_EDGE = ImageTokens(names.EDGE, images.edge_image, images.drawing_of)

# By modality (`model.modality`); the order is that in which a network sees them.
FORMS: dict[str, tuple[Form, ...]] = {
    "rgb": (*_both_sizes("rgb", _PIXELS), *_both_sizes("tok_rgb", _RGB)),
    "depth": _both_sizes("tok_depth", _DEPTH),
    "normal": _both_sizes("tok_normal", _NORMAL),
    "semseg": _both_sizes("tok_semseg", _SEMSEG),
    "canny_edge": (Form("tok_canny_edge@224", _CANNY),),
    "sam_edge": (Form("tok_sam_edge@224", _SAM_EDGE),),
    "clip": _both_sizes("tok_clip", FeatureTokens(names.CLIP)),
    "dinov2": (Form("tok_dinov2@224", FeatureTokens(names.DINOV2)),),
    "imagebind": (Form("tok_imagebind@224", FeatureTokens(names.IMAGEBIND)),),
    "dinov2_global": (Form("tok_dinov2_global", VectorTokens(names.DINOV2_GLOBAL)),),
    "imagebind_global": (Form("tok_imagebind_global", VectorTokens(names.IMAGEBIND_GLOBAL)),),
    "caption": (Form("caption", Text("caption")),),
    "t5_caption": (Form("t5_caption", States()),),
    "bounding_boxes": (Form("det", Text("det")),),
    "metadata": (Form("metadata", Text("metadata", ending="[S_1]")),),
    "color_palette": (Form("color_palette", Text("color_palette")),),
    "human_pose": (Form("human_poses", Text("human_poses", arrays_of=pose_arrays)),),
    "sam_instance": (Form("sam_instance", Text("sam_instance", arrays_of=instance_arrays)),),
}


def inputs_of(config: FourMConfig) -> Mapping[str, Form]:
    """The modalities that a network takes, each in the form in which it does."""
    taken = (
        (name, next((form for form in forms if form.key in config.domains_in), None)) for name, forms in FORMS.items()
    )
    return {name: form for name, form in taken if form is not None}


def targets_of(config: FourMConfig) -> Mapping[str, TargetForm]:
    """The modalities that a network predicts, each in the form in which it does."""
    found: dict[str, TargetForm] = {}
    for name, forms in FORMS.items():
        for form in forms:
            if form.key in config.domains_out and isinstance(form.codec, TokenCodec):
                found.setdefault(name, TargetForm(form.key, form.codec))
    return found


def input_form(config: FourMConfig, modality: str, model: str) -> Form:
    """How the network of `model` takes a modality. Raises `UnsupportedModality` naming those it does."""
    taken = inputs_of(config)
    if modality not in taken:
        raise UnsupportedModality(f"the model {model} does not take {modality}; it takes {', '.join(taken)}")
    return taken[modality]


def target_form(config: FourMConfig, modality: str, model: str) -> TargetForm:
    """How the network of `model` predicts a modality. Raises `UnsupportedModality` naming those it does."""
    predicted = targets_of(config)
    if modality not in predicted:
        raise UnsupportedModality(f"the model {model} does not predict {modality}; it predicts {', '.join(predicted)}")
    return predicted[modality]
