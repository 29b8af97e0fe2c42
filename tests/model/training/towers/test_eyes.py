"""Fine-tuning the last stages: it learns, it goes on where it was stopped, and it keeps to the frozen vectors."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anyseek.model.encoders.efficientnet import CLASSES, FINE_CHANNELS, FINE_GRID, EfficientNetLite0, parts_of
from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.towers.space import Seen, Shape, Towers, Weights
from anyseek.model.training.towers.eyes import EVALUATION, Eyes, EyesSchedule, Photographed, recall, train_eyes
from anyseek.model.training.towers.material import Captions, Material

COUNT = 24
WEIGHTS = {"caption": Weights(words=0.0, learned=1.0)}
SCHEDULE = EyesSchedule(steps=6, batch=8, rate=1e-3, tower_rate=5e-3, warm_up=1, bank=16, evaluate_every=3)


def encoder() -> EfficientNetLite0:
    torch.manual_seed(0)
    return EfficientNetLite0().requires_grad_(False).eval()


@pytest.fixture(scope="module")
def photographed() -> Photographed:
    generator = torch.Generator().manual_seed(0)
    fine = torch.randn(COUNT, FINE_CHANNELS, FINE_GRID, FINE_GRID, generator=generator) * 3
    with torch.inference_mode():
        found = encoder().finish(fine)
    words = F.normalize(torch.randn(COUNT, WIDTH, generator=generator), dim=1)
    seen = Seen(found.pooled.clone(), found.grid.amax(dim=(2, 3)), parts_of(fine), words)
    vectors = F.normalize(torch.randn(COUNT, WIDTH, generator=generator), dim=1)
    own, zeros = np.arange(COUNT), np.zeros(COUNT, np.int64)
    return Photographed(Material(seen, own, zeros, Captions(vectors, own, zeros), {}, ("x",)), fine.half())


def made() -> Eyes:
    torch.manual_seed(0)
    towers = Towers(Shape(looks=8, seen=32, hidden=16, learned=16), WEIGHTS, {}, {})
    torch.nn.init.normal_(towers.seen.axes, generator=torch.Generator().manual_seed(1))
    classes = F.normalize(torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(2)), dim=1)
    return Eyes(encoder(), towers.eval().requires_grad_(False), classes)


def test_only_the_last_stages_and_the_towers_are_trained(photographed: Photographed, tmp_path: Path) -> None:
    eyes, before = made(), encoder().state_dict()
    train_eyes(eyes, photographed, photographed, replace(SCHEDULE, steps=2), tmp_path, lambda line: None)
    changed = {name for name, one in eyes.encoder.state_dict().items() if not torch.equal(one, before[name])}
    assert changed
    assert changed <= eyes.stages.keys()
    assert not any(name.startswith(("stem", "blocks.0.", "blocks.10.", "classifier")) for name in eyes.stages)


def test_a_run_that_was_stopped_ends_in_the_same_weights(photographed: Photographed, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    told: list[str] = []

    def stop(line: str) -> None:
        told.append(line)
        if len(told) == 3:  # the row after step 6 comes before its checkpoint: that of step 3 is the last one
            raise Stopped

    whole, parted = tmp_path / "whole", tmp_path / "parted"
    for folder in (whole, parted):
        folder.mkdir()
    one, other = made(), made()
    train_eyes(one, photographed, photographed, SCHEDULE, whole, lambda line: None)
    with pytest.raises(Stopped):
        train_eyes(made(), photographed, photographed, SCHEDULE, parted, stop)
    train_eyes(other, photographed, photographed, SCHEDULE, parted, lambda line: None)
    for name, tensor in one.stages.items():
        assert torch.equal(tensor, other.stages[name]), name
    rows = list(csv.DictReader((whole / EVALUATION).open()))
    assert [row["step"] for row in rows] == ["0", "3", "6"]


@pytest.mark.slow
def test_it_learns_whose_caption_is_whose(photographed: Photographed, tmp_path: Path) -> None:
    eyes = made()
    before = recall(eyes, photographed)["all"]
    longer = replace(SCHEDULE, steps=40, batch=16, drift=0.0, evaluate_every=40)
    train_eyes(eyes, photographed, photographed, longer, tmp_path, lambda line: None)
    assert recall(eyes, photographed)["all"] > before + 0.2


def test_a_checkpoint_of_another_schedule_is_refused(photographed: Photographed, tmp_path: Path) -> None:
    train_eyes(made(), photographed, photographed, replace(SCHEDULE, steps=1), tmp_path, lambda line: None)
    with pytest.raises(ValueError, match="another schedule"):
        train_eyes(made(), photographed, photographed, SCHEDULE, tmp_path, lambda line: None)
