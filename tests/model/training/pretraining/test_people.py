"""Human poses and SAM instances from a user's files through shards into a training run, and back by their parsers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anyseek.model.data.build import build
from anyseek.model.data.contents import sample_of
from anyseek.model.data.recipe import read_recipe
from anyseek.model.data.samples import Split
from anyseek.model.data.shards import open_dataset
from anyseek.model.modalities.formats.human_poses import poses_from_text, poses_to_text
from anyseek.model.modalities.formats.sam_instances import QueryPoint, instances_from_text, instances_to_text
from anyseek.model.training.pretraining.batches import BatchMaker
from tests.model.data.conftest import Silent
from tests.model.training.runs import Written, batch_source, merged_text

PEOPLE = {"kind": "text", "field": "human_pose", "input": 0.5, "target": 1}
POINTS = {"kind": "text", "field": "sam_instance", "input": 0.5, "target": 1}


def _person(generator: np.random.Generator) -> dict[str, Any]:
    return {
        "box": sorted(generator.random(4).tolist()),
        "pose": generator.integers(0, 1024, 8).tolist(),
        "rotation": generator.uniform(-1, 1, 9).tolist(),
        "camera": generator.uniform(-1, 19, 3).tolist(),
        "shape": generator.uniform(-3, 3, 10).tolist(),
    }


def _point(generator: np.random.Generator) -> dict[str, Any]:
    masks = [
        {"box": sorted(generator.integers(0, 224, 4).tolist()), "tokens": generator.integers(0, 1024, 16).tolist()}
        for _ in range(int(generator.integers(0, 3)))
    ]
    y, x = generator.integers(0, 224, 2).tolist()
    return {"point": {"x": x, "y": y}, "masks": masks}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 24 pictures with 0 to 2 people and 9 points each, from a folder of a user's files."""
    folder = tmp_path_factory.mktemp("people")
    for number in range(24):
        generator = np.random.default_rng(number)
        found = {
            "human_pose": [_person(generator) for _ in range(number % 3)],
            "sam_instance": [_point(generator) for _ in range(9)],
        }
        for modality, value in found.items():
            (folder / "files" / modality).mkdir(parents=True, exist_ok=True)
            (folder / "files" / modality / f"{number}.json").write_text(json.dumps(value), encoding="utf-8")
        (folder / "files" / "rgb").mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (number * 10, 0, 0)).save(folder / "files" / "rgb" / f"{number}.png")
    (folder / "recipe.yaml").write_text(
        f"name: people\nsplits: {{val: 0.2, test: 0}}\nsources:\n"
        f"  - {{kind: folder, path: {folder}/files, licence: CC0}}\n",
        encoding="utf-8",
    )
    build(read_recipe(folder / "recipe.yaml"), folder / "data", folder / "home", 1, Silent())
    return folder / "data"


@pytest.fixture
def config(people: Path, config: dict[str, Any]) -> dict[str, Any]:
    del config["modalities"]["color_palette"], config["modalities"]["tok_rgb"], config["modalities"]["caption"]
    config["modalities"] |= {"human_poses": PEOPLE, "sam_instance": POINTS}
    config["masking"] = {"weights": [1], "input_tokens": 400, "target_tokens": 400}
    config["modalities"]["rgb"]["input"] = 0.5
    config["modalities"]["human_poses"] = {**PEOPLE, "keep": "random"}
    return {**config, "data": {"folders": [{"folder": str(people)}]}, "text": {"words": 40}}


def test_what_is_masked_can_be_put_together_and_read_again(
    people: Path, config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    source = batch_source(written(config), [], tmp_path, 12)
    text = source.plan.text
    samples = [sample_of(entry) for entry in open_dataset(people).entries(Split.TRAIN)]
    all_people = {poses_to_text([person]) for one in samples for person in one.values["human_pose"]}
    all_points = {_without_order(point) for one in samples for point in one.values["sam_instance"]}
    batch, persons, points = BatchMaker(source).training_batch(0), 0, 0
    for row in range(batch.samples):
        for person in poses_from_text(merged_text(batch, "human_poses", row, text)):
            assert poses_to_text([person]) in all_people
            persons += 1
        found = instances_from_text(merged_text(batch, "sam_instance", row, text))
        points += sum(_without_order(point) in all_points for point in found)
        assert len(found) <= 7
    assert persons >= 6
    assert points >= 30  # a text of more than 290 ids is cut in its last point


def _without_order(point: QueryPoint) -> tuple[int, int, frozenset[str]]:
    return point.y, point.x, frozenset(instances_to_text([QueryPoint(0, 0, (mask,))]) for mask in point.masks)
