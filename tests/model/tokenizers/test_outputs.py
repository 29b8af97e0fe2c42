"""Decoded tensors as arrays for files."""

import numpy as np
import torch

from anyseek.model.tokenizers.image_vqvae import images_to_uint8, logits_to_labels, logits_to_masks


def test_images_span_all_bytes_and_are_clipped() -> None:
    images = torch.tensor([-3.0, -1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 1, 5).expand(1, 3, 2, 5)
    out = images_to_uint8(images)
    assert out.shape == (1, 2, 5, 3)
    assert out.dtype == np.uint8
    assert out[0, 1, :, 2].tolist() == [0, 0, 128, 255, 255]


def test_labels_are_the_best_logits() -> None:
    logits = torch.zeros(1, 134, 2, 2)
    logits[0, 133, 0, 1] = 1.0
    assert logits_to_labels(logits).tolist() == [[[0, 133], [0, 0]]]


def test_masks_are_where_logits_are_positive() -> None:
    masks = logits_to_masks(torch.tensor([[[[0.5, 0.0, -0.5]]]]))
    assert masks.dtype == np.bool_
    assert masks.tolist() == [[[True, False, False]]]
