"""After the fit: depth in metres, the right way round, and labels as ready as serves them best."""

import torch

from anyseek.model.training.dense.finishing import mean_iou, set_offsets, set_unit
from anyseek.model.training.dense.material import Batch
from tests.model.training.dense.test_objective import LABELS, batch_of
from tests.random_bundle import random_decoder


def test_depth_is_brought_to_metres_even_if_it_was_learned_the_wrong_way_round() -> None:
    decoder, batch = random_decoder(LABELS), batch_of(["rgb", "rgb", "normal"])
    far = -0.5 * decoder(batch.levels, batch.inputs).depth[:, 0] + 3
    known = Batch(batch.levels, batch.inputs, far.detach(), batch.normal, batch.semseg)
    set_unit(decoder, [known])
    torch.testing.assert_close(decoder(batch.levels, batch.inputs).depth[:, 0], known.depth, rtol=0.02, atol=0.01)


def test_labels_are_said_as_often_as_the_mean_iou_gains_by_it() -> None:
    decoder, batch = random_decoder(LABELS), batch_of(["rgb", "rgb", "normal"])
    with torch.no_grad():
        decoder.regions.bias[2] -= 50  # it is never said
        wanted = decoder(batch.levels, batch.inputs).semseg[:, 1:].argmax(dim=1) + 1
        decoder.regions.bias[1] += 0.8  # and this too often
    known = Batch(batch.levels, batch.inputs, batch.depth, batch.normal, wanted.to(torch.uint8))

    def quality() -> float:
        logits = decoder(batch.levels, batch.inputs).semseg.detach()[:2, 1:].movedim(1, -1).flatten(0, 2)
        return mean_iou(logits, wanted[:2].flatten() - 1)

    before, others = quality(), decoder.regions.bias[2:].clone()
    set_offsets(decoder, [known])
    assert quality() > before
    assert decoder.regions.bias[2] == others[0], "what is never there is left alone"


def test_without_labels_nothing_is_shifted() -> None:
    decoder, batch = random_decoder(LABELS), batch_of(["rgb"])
    batch.semseg[:] = 0
    before = decoder.regions.bias.clone()
    set_offsets(decoder, [batch])
    torch.testing.assert_close(decoder.regions.bias, before)
