"""Whatever computes with a network counts as a pass, and so gets its share of the processors."""

from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from anyseek.model.compute.threads import SHARING
from anyseek.model.fourm.model import FourMModel

SPACE = "joint"
VECTORS = np.ones((1, 4), np.float32)


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: model.image_attributes(np.zeros((8, 8, 3), np.uint8)),
        lambda model: model.names(VECTORS, SPACE, 3),
        lambda model: model.codes_of(VECTORS, SPACE),
    ],
    ids=["image_attributes", "names", "codes_of"],
)
def test_it_is_a_pass(ask: Callable[[FourMModel], Any]) -> None:
    seen = list[bool]()

    def compute(*_: Any) -> torch.Tensor:
        seen.append(SHARING.is_in_pass)
        return torch.ones(1, 4)

    parts, embedding, captioner = MagicMock(), MagicMock(), MagicMock(attributes=compute, names=compute)
    parts.network.mask_token = torch.zeros(1)
    embedding.towers_space.space.name = SPACE
    embedding.spaces = {SPACE: MagicMock(tokenizer=MagicMock(encode=compute, decode_tokens=compute))}
    ask(FourMModel(parts, frozenset(), lambda: embedding, captioner=captioner))
    assert seen
    assert all(seen)
    assert not SHARING.is_in_pass
