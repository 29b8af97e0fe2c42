"""The losses measure what the evaluation measures, and leave out what is not known."""

import numpy as np
import pytest
import torch

from anyseek.model.encoders.efficientnet import LEVELS
from anyseek.model.fourm.bundled.dense_decoder import SEEN, Decoded
from anyseek.model.training.dense.features import PLACES
from anyseek.model.training.dense.material import Batch
from anyseek.model.training.dense.objective import depth_errors, label_weights, losses, measured
from anyseek.search.evaluation.output_measures import depth_error
from tests.random_bundle import random_decoder

LABELS = 5
ONES = torch.ones(LABELS)


def batch_of(inputs: list[str]) -> Batch:
    generator = torch.Generator().manual_seed(0)
    count = len(inputs)
    levels = tuple(torch.randn(count, channels, side, side, generator=generator) for side, channels, _ in LEVELS)
    depth = torch.rand(count, PLACES, PLACES, generator=generator) + 1
    normal = torch.nn.functional.normalize(torch.randn(count, 3, PLACES, PLACES, generator=generator), dim=1)
    labels = torch.randint(0, LABELS, (count, PLACES, PLACES), generator=generator).to(torch.uint8)
    return Batch(levels, torch.tensor([SEEN.index(name) for name in inputs]), depth, normal, labels)


def test_depth_errors_are_those_of_the_evaluation() -> None:
    generator = torch.Generator().manual_seed(1)
    known = torch.rand(1, PLACES, PLACES, generator=generator) * 4 + 1
    known[0, :10] = torch.nan
    said = -0.3 * known.nan_to_num(3.0) + torch.rand(1, PLACES, PLACES, generator=generator) * 0.2
    wanted = depth_error(said[0].numpy(), np.where(np.isnan(known[0]), 0, known[0]))["abs_rel"]
    assert float(depth_errors(said, known)) == pytest.approx(wanted, rel=0.01)


def test_what_is_known_is_right_costs_nothing() -> None:
    batch = batch_of(["rgb", "rgb"])
    logits = torch.nn.functional.one_hot(batch.semseg.long(), LABELS).movedim(-1, 1).float() * 50
    found = losses(Decoded(2 - batch.depth[:, None], batch.normal, logits), batch, ONES)
    for name, values in found.of.items():
        assert float(values.max()) < 0.02, name
    assert float(found.total()) < 0.1


def test_an_input_is_not_its_own_target_and_the_unknown_does_not_count() -> None:
    batch = batch_of(["depth", "semseg", "rgb"])
    batch.normal[2] = 0
    counts = losses(random_decoder(LABELS)(batch.levels, batch.inputs), batch, ONES).counts
    assert {name: mask.tolist() for name, mask in counts.items()} == {
        "depth": [0, 1, 1],
        "normal": [1, 1, 0],
        "semseg": [1, 0, 1],
    }


def test_rare_labels_weigh_more_and_none_weighs_nothing() -> None:
    weights = label_weights(torch.tensor([500.0, 900.0, 90.0, 10.0, 0.0]).double())
    assert weights[0] == 0
    assert weights[1] < weights[2] < weights[3] <= weights[4]


def test_errors_are_told_by_target_and_input() -> None:
    errors = measured(random_decoder(LABELS), [batch_of(["rgb", "rgb", "depth"]), batch_of(["rgb"])])
    assert errors[:, 0].isfinite().all()
    assert errors[0, SEEN.index("depth")].isnan(), "depth is not predicted from itself"
    assert errors[1, SEEN.index("depth")] > 0
    assert errors[:, SEEN.index("bounding_boxes")].isnan().all()
    assert (errors[2, 0] > 0) & (errors[2, 0] < 1)
