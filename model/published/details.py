"""What the codes inside people and instances stand for."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from model.config import ConfigInvalid
from model.embedder import FloatArray
from model.formats.human_poses import HumanPose
from model.formats.sam_instances import QueryPoint
from model.published import names
from model.published.codecs import vector_tokenizer
from model.published.model import PublishedModel
from model.tokenizers.image_vqvae import ImageVQVAE
from model.tokenizers.outputs import logits_to_masks

JOINTS = 23
_MASK_GRID = (4, 4)


def pose_arrays(model: PublishedModel, people: Sequence[HumanPose]) -> Mapping[str, npt.NDArray[np.generic]]:
    """`rotations` of `body_rotations`."""
    return {"rotations": body_rotations(model, people)}


def instance_arrays(model: PublishedModel, points: Sequence[QueryPoint]) -> Mapping[str, npt.NDArray[np.generic]]:
    """`masks` of `instance_masks`."""
    return {"masks": instance_masks(model, points)}


def body_rotations(model: PublishedModel, people: Sequence[HumanPose]) -> FloatArray:
    """Each person's 23 joints as rotation matrices, as nearly as the tokenizer keeps them: float32 (n, 23, 3, 3).

    Raises `WeightsMissing` without the tokenizer of poses.
    """
    if not people:
        return np.zeros((0, JOINTS, 3, 3), np.float32)
    tokenizer = vector_tokenizer(model, names.HUMAN_POSES)
    with torch.no_grad():
        numbers = tokenizer.decode_tokens(_codes([person.pose for person in people], tokenizer))
    # (n, 207) -> (n, 23, 3, 3)
    return np.asarray(numbers.float().cpu()).reshape(len(people), JOINTS, 3, 3)


def instance_masks(model: PublishedModel, points: Sequence[QueryPoint]) -> npt.NDArray[np.bool_]:
    """All masks of all points, one after the other, each filling its box: bool (n, 64, 64).

    Raises `WeightsMissing` without the tokenizer of instances.
    """
    tokens = [mask.tokens for point in points for mask in point.masks]
    tokenizer = model.tokenizer(names.SAM_INSTANCE)
    if not isinstance(tokenizer, ImageVQVAE):
        raise ConfigInvalid(f"{names.SAM_INSTANCE} is not a tokenizer of masks")
    if not tokens:
        side = _MASK_GRID[0] * tokenizer.patch
        return np.zeros((0, side, side), np.bool_)
    with torch.no_grad():
        # (n, 16) -> (n, 4, 4)
        return logits_to_masks(tokenizer.decode_tokens(_codes(tokens, tokenizer).view(-1, *_MASK_GRID)))


def _codes(rows: Sequence[Sequence[int]], tokenizer: torch.nn.Module) -> torch.Tensor:
    return torch.tensor(rows, device=next(tokenizer.parameters()).device)
