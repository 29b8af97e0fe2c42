"""What codes inside values stand for."""

import numpy as np
import torch

from anyseek.model.fourm.inputs import FourMParts
from anyseek.model.fourm.published import names
from anyseek.model.fourm.published.modalities import instance_arrays, pose_arrays
from tests.model.fourm.published.values import MASK, PERSON, VALUES


@torch.inference_mode()
def test_poses_become_rotations(parts: FourMParts) -> None:
    rotations = pose_arrays(parts.tokenizers, [PERSON, PERSON])["rotations"]
    assert rotations.shape == (2, 23, 3, 3)
    np.testing.assert_array_equal(rotations[0], rotations[1])
    tokenizer = parts.tokenizers.tokenizer(names.HUMAN_POSES)
    expected = tokenizer.decode_tokens(torch.tensor([PERSON.pose]))
    np.testing.assert_allclose(rotations[0].reshape(-1), expected[0].detach().numpy(), atol=1e-5)
    assert pose_arrays(parts.tokenizers, [])["rotations"].shape == (0, 23, 3, 3)


@torch.inference_mode()
def test_instances_become_masks_in_the_order_of_their_points(parts: FourMParts) -> None:
    points = VALUES["sam_instance"]
    assert isinstance(points, tuple)
    masks = instance_arrays(parts.tokenizers, points)["masks"]
    assert masks.shape == (1, 64, 64)
    tokenizer = parts.tokenizers.tokenizer(names.SAM_INSTANCE)
    logits = tokenizer.decode_tokens(torch.tensor([MASK.tokens]).view(1, 4, 4))
    np.testing.assert_array_equal(masks[0], logits[0, 0].detach().numpy() > 0)
    assert instance_arrays(parts.tokenizers, [])["masks"].shape == (0, 64, 64)
