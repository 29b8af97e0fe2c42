"""The encoders beside a bundled model; skipped until `anyseek models pull encoders` was run."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from anyseek.model.encoders.baselines import Encoders, look_once
from anyseek.model.encoders.efficientnet import Features
from anyseek.model.errors import WeightsMissing
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import Sample

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()


def test_the_model_and_the_encoders_look_at_a_picture_once() -> None:
    try:
        embedder, encoders = load_bundled("4m-tiny", HOME), Encoders(HOME)
    except WeightsMissing as error:
        pytest.skip(str(error))
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    spaces = list(embedder.spaces)
    plain = embedder.embed([Sample({"rgb": picture})], spaces), encoders.pictures([picture])
    specialists = embedder.parts.specialists
    assert specialists is not None
    seen, encode = [], specialists.image_encoder

    def counted(pixels: Tensor) -> Features:
        seen.append(len(pixels))
        return encode(pixels)

    specialists.image_encoder = counted
    look_once(embedder, encoders)
    joint = Sample({"rgb": picture, "caption": "noise"})
    vectors = embedder.embed([Sample({"rgb": picture}), joint], spaces)
    pooled, logits = encoders.pictures([picture])
    assert sum(seen) == 1
    for space in spaces:
        np.testing.assert_allclose(vectors[space][:1], plain[0][space], atol=1e-5)
    np.testing.assert_allclose(pooled, plain[1][0], atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(logits), torch.from_numpy(plain[1][1]), atol=1e-3, rtol=1e-3)


def test_a_model_without_encoders_is_left_alone() -> None:
    look_once(HashingEmbedder(), None)
