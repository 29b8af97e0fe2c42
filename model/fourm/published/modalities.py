"""Map the user's names of modalities to the checkpoint keys of published networks: one row per modality.

A modality can enter or leave a network in several forms (a picture as pixels or as tokens, at 224 or 448 pixels). A
network uses the first form that it has.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from anyseek.model.errors import UnsupportedModality
from anyseek.model.fourm import images
from anyseek.model.fourm.codecs import (
    Codec,
    FeatureTokenCodec,
    ImageTokenCodec,
    InputForm,
    PixelCodec,
    TargetForm,
    TextCodec,
    TextStateCodec,
    TokenCodec,
    Tokenizers,
    VectorTokenCodec,
    vector_tokenizer,
)
from anyseek.model.fourm.published import names
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.sam_instances import QueryPoint
from anyseek.model.network.config import ConfigInvalid, FourMConfig
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE, logits_to_masks

JOINTS = 23
_MASK_GRID = (4, 4)


def pose_arrays(tokenizers: Tokenizers, people: Sequence[HumanPose]) -> Mapping[str, npt.NDArray[np.generic]]:
    """`rotations` of each person's 23 joints, as nearly as the tokenizer keeps them: float32 (n, 23, 3, 3).

    Raises `WeightsMissing` without the tokenizer of poses.
    """
    if not people:
        return {"rotations": np.zeros((0, JOINTS, 3, 3), np.float32)}
    tokenizer = vector_tokenizer(tokenizers, names.HUMAN_POSES)
    with torch.no_grad():
        numbers = tokenizer.decode_tokens(_codes([person.pose for person in people], tokenizer))
    # (n, 207) -> (n, 23, 3, 3)
    return {"rotations": np.asarray(numbers.float().cpu()).reshape(len(people), JOINTS, 3, 3)}


def instance_arrays(tokenizers: Tokenizers, points: Sequence[QueryPoint]) -> Mapping[str, npt.NDArray[np.generic]]:
    """All `masks` of all points, one after the other, each filling its box: bool (n, 64, 64).

    Raises `WeightsMissing` without the tokenizer of instances.
    """
    tokens = [mask.tokens for point in points for mask in point.masks]
    tokenizer = tokenizers.tokenizer(names.SAM_INSTANCE)
    if not isinstance(tokenizer, ImageVQVAE):
        raise ConfigInvalid(f"{names.SAM_INSTANCE} is not a tokenizer of masks")
    if not tokens:
        side = _MASK_GRID[0] * tokenizer.patch
        return {"masks": np.zeros((0, side, side), np.bool_)}
    with torch.no_grad():
        # (n, 16) -> (n, 4, 4)
        codes = _codes(tokens, tokenizer).view(-1, *_MASK_GRID)
        return {"masks": logits_to_masks(tokenizer.decode_tokens(codes))}


def _codes(rows: Sequence[Sequence[int]], tokenizer: torch.nn.Module) -> torch.Tensor:
    return torch.tensor(rows, device=next(tokenizer.parameters()).device)


def _both_sizes(name: str, codec: Codec) -> tuple[InputForm, ...]:
    return InputForm(f"{name}@224", codec), InputForm(f"{name}@448", codec)


_PIXELS = PixelCodec(images.rgb_input)
_RGB = ImageTokenCodec(names.RGB, images.rgb_tokenizer_input, images.picture_of)
_NORMAL = ImageTokenCodec(names.NORMAL, images.rgb_tokenizer_input, images.picture_of)
_DEPTH = ImageTokenCodec(names.DEPTH, images.depth_image, images.depth_of)
_SEMSEG = ImageTokenCodec(names.SEMSEG, images.label_image, images.regions_of)
_CANNY = ImageTokenCodec(names.EDGE, images.line_image, images.drawing_of)
_SAM_EDGE = ImageTokenCodec(names.EDGE, images.edge_image, images.drawing_of)

# By modality (`anyseek.model.modalities.registry`); the order is that in which a network sees them.
FORMS: dict[str, tuple[InputForm, ...]] = {
    "rgb": (*_both_sizes("rgb", _PIXELS), *_both_sizes("tok_rgb", _RGB)),
    "depth": _both_sizes("tok_depth", _DEPTH),
    "normal": _both_sizes("tok_normal", _NORMAL),
    "semseg": _both_sizes("tok_semseg", _SEMSEG),
    "canny_edge": (InputForm("tok_canny_edge@224", _CANNY),),
    "sam_edge": (InputForm("tok_sam_edge@224", _SAM_EDGE),),
    "clip": _both_sizes("tok_clip", FeatureTokenCodec(names.CLIP)),
    "dinov2": (InputForm("tok_dinov2@224", FeatureTokenCodec(names.DINOV2)),),
    "imagebind": (InputForm("tok_imagebind@224", FeatureTokenCodec(names.IMAGEBIND)),),
    "dinov2_global": (InputForm("tok_dinov2_global", VectorTokenCodec(names.DINOV2_GLOBAL)),),
    "imagebind_global": (InputForm("tok_imagebind_global", VectorTokenCodec(names.IMAGEBIND_GLOBAL)),),
    "caption": (InputForm("caption", TextCodec("caption")),),
    "t5_caption": (InputForm("t5_caption", TextStateCodec()),),
    "bounding_boxes": (InputForm("det", TextCodec("det")),),
    "metadata": (InputForm("metadata", TextCodec("metadata", ending="[S_1]")),),
    "color_palette": (InputForm("color_palette", TextCodec("color_palette")),),
    "human_pose": (InputForm("human_poses", TextCodec("human_poses", decode_arrays=pose_arrays)),),
    "sam_instance": (InputForm("sam_instance", TextCodec("sam_instance", decode_arrays=instance_arrays)),),
}


def inputs_of(config: FourMConfig) -> Mapping[str, InputForm]:
    """The modalities that a network takes, each in the form in which it does."""
    taken = (
        (name, next((form for form in forms if form.key in config.domains_in), None)) for name, forms in FORMS.items()
    )
    return {name: form for name, form in taken if form is not None}


def targets_of(config: FourMConfig) -> Mapping[str, TargetForm]:
    """The modalities that a network predicts, each in the form in which it does."""
    targets: dict[str, TargetForm] = {}
    for name, forms in FORMS.items():
        for form in forms:
            if form.key in config.domains_out and isinstance(form.codec, TokenCodec):
                targets.setdefault(name, TargetForm(form.key, form.codec))
    return targets


def target_form(config: FourMConfig, modality: str, model: str) -> TargetForm:
    """The form of a modality as a target of `model`. Raises `UnsupportedModality` naming those it predicts."""
    predicted = targets_of(config)
    if modality not in predicted:
        raise UnsupportedModality(f"the model {model} does not predict {modality}; it predicts {', '.join(predicted)}")
    return predicted[modality]
