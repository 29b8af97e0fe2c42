"""Asking for instances everywhere, and what a network that knows one answer says."""

from pathlib import Path

import numpy as np
import pytest

from model.config import FourMConfig
from model.formats.boxes import Box
from model.formats.sam_instances import MaskInstance, QueryPoint, instances_to_text, query_grid
from model.predict import PredictOptions, predict
from model.published.model import PublishedModel
from model.transformer import FourM
from tests.model.generating import speaking
from tests.model.published.values import PICTURE

MASK = MaskInstance(Box(11.0, 22.0, 113.0, 64.0), tuple(range(600, 616)))
CONFIG = FourMConfig(("rgb@224",), ("sam_instance",), dim=64, encoder_depth=1, decoder_depth=1, num_heads=2)


@pytest.fixture
def knowing(published_home: Path, model: PublishedModel) -> PublishedModel:
    """A network that answers with one mask, whatever it is asked, and then goes on to another point."""
    network = FourM(CONFIG)
    network.initialise(seed=0)
    words = instances_to_text([QueryPoint(3, 200, (MASK,)), QueryPoint(5, 7)])
    answer = model.text.encode(words.partition("v1=200 ")[2])[: 1 + 4 + 16 + 1]  # up to the next "point"
    spoken = [model.text.sentinel_ids[1], *answer, model.text.end_id]
    speaking(network.eval(), *spoken, key="sam_instance")
    return PublishedModel("knowing", "0" * 64, network, published_home)


@pytest.mark.parametrize("side", [1, 3, 9])
def test_every_place_is_answered_in_order(knowing: PublishedModel, side: int) -> None:
    options = PredictOptions(points=side, temperature=0)
    found = predict({"rgb": PICTURE}, ["sam_instance"], model=knowing, options=options)["sam_instance"]
    assert found.value == tuple(QueryPoint(y, x, (MASK,)) for y, x in query_grid(side))
    assert found.arrays["masks"].shape == (side**2, 64, 64)
    assert found.tokens is not None
    assert knowing.text.decode(found.tokens.tolist()) == instances_to_text(found.value)  # type: ignore[arg-type]


def test_an_incomplete_answer_is_a_point_without_masks(knowing: PublishedModel) -> None:
    speaking(knowing.network, knowing.text.sentinel_ids[1], knowing.text.end_id, key="sam_instance")
    options = PredictOptions(points=2, temperature=0)
    found = predict({"rgb": PICTURE}, ["sam_instance"], model=knowing, options=options)["sam_instance"]
    assert found.value == tuple(QueryPoint(y, x) for y, x in query_grid(2))
    assert found.arrays["masks"].dtype == np.bool_
