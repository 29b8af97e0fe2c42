"""Asking for instances everywhere, and what a network that knows one answer says."""

from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.fourm.inputs import FourMParts
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published.modalities import inputs_of, targets_of
from anyseek.model.modalities.formats.boxes import Box
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint, instances_to_text, query_grid
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.predict import predict
from anyseek.model.seam import PredictOptions
from tests.model.fourm.published.values import PICTURE
from tests.model.generating import speaking

MASK = MaskInstance(Box(11.0, 22.0, 113.0, 64.0), tuple(range(600, 616)))
CONFIG = FourMConfig(("rgb@224",), ("sam_instance",), dim=64, encoder_depth=1, decoder_depth=1, num_heads=2)


@pytest.fixture
def knowing(model: FourMModel, parts: FourMParts) -> FourMModel:
    """A network that answers with one mask, whatever it is asked, and then goes on to another point."""
    network = FourM(CONFIG)
    network.initialise(seed=0)
    words = instances_to_text([QueryPoint(3, 200, (MASK,)), QueryPoint(5, 7)])
    text = parts.tokenizers.text
    answer = text.encode(words.partition("v1=200 ")[2])[: 1 + 4 + 16 + 1]  # up to the next "point"
    spoken = [text.sentinel_ids[1], *answer, text.end_id]
    speaking(network.eval(), *spoken, key="sam_instance")
    known = replace(parts, name="knowing", network=network, inputs=inputs_of(CONFIG), targets=targets_of(CONFIG))
    return FourMModel(known, model.modalities, lambda: model.embedding)


@pytest.mark.parametrize("side", [1, 3, 9])
def test_every_place_is_answered_in_order(knowing: FourMModel, side: int) -> None:
    options = PredictOptions(points=side, temperature=0)
    found = predict({"rgb": PICTURE}, ["sam_instance"], model=knowing, options=options)["sam_instance"]
    assert found.value == tuple(QueryPoint(y, x, (MASK,)) for y, x in query_grid(side))
    assert found.arrays["masks"].shape == (side**2, 64, 64)
    assert found.tokens is not None
    assert knowing.parts.tokenizers.text.decode(found.tokens.tolist()) == instances_to_text(found.value)


def test_an_incomplete_answer_is_a_point_without_masks(knowing: FourMModel) -> None:
    text = knowing.parts.tokenizers.text
    speaking(knowing.parts.network, text.sentinel_ids[1], text.end_id, key="sam_instance")
    options = PredictOptions(points=2, temperature=0)
    found = predict({"rgb": PICTURE}, ["sam_instance"], model=knowing, options=options)["sam_instance"]
    assert found.value == tuple(QueryPoint(y, x) for y, x in query_grid(2))
    assert found.arrays["masks"].dtype == np.bool_
