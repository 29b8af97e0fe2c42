"""Towers on a small world: photos of topics, captions that name the topic in another language than ConSE's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anyseek.model.encoders.efficientnet import CHANNELS, FINE_CHANNELS, PARTS
from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.towers.space import FILE, Seen, Shape, Towers, Weights, load_towers, save_towers
from anyseek.model.training.towers.bases import balanced, fit_bases, kinds
from anyseek.model.training.towers.contrast import CHECKPOINT, Batches, Schedule, train_towers
from anyseek.model.training.towers.features import Described
from anyseek.model.training.towers.fit import set_means
from anyseek.model.training.towers.material import Captions, Choice, Material, Rendered

PHOTOS, TOPICS = 120, 12
SHAPE = Shape(looks=16, seen=16, hidden=24, learned=12)
WEIGHTS = {"rgb": Weights(whole=1.0), "caption": Weights(words=1.0, learned=1.0), "depth": Weights(1.0, 2.0)}
SCHEDULE = Schedule(steps=60, batch=48, rate=5e-3, warm_up=5, checkpoint_every=20, dropout=0.0)


def seen(generator: torch.Generator, topic: torch.Tensor) -> Seen:
    """Pictures whose channels tell their topic, and whose ConSE vectors say nothing."""

    def told(width: int, seed: int) -> torch.Tensor:
        return torch.randn(TOPICS, width, generator=torch.Generator().manual_seed(seed))[topic]

    noise = torch.rand(len(topic), CHANNELS, generator=generator)
    pooled = told(CHANNELS, 1).clamp(min=0) + 0.3 * noise
    parts = torch.randn(len(topic), FINE_CHANNELS, PARTS, PARTS, generator=generator)
    words = F.normalize(torch.randn(len(topic), WIDTH, generator=generator), dim=1)
    return Seen(pooled, pooled * 2, parts, words)


@pytest.fixture
def material() -> Material:
    generator = torch.Generator().manual_seed(0)
    topic = torch.arange(PHOTOS) % TOPICS
    language = torch.randn(TOPICS, WIDTH, generator=generator)
    vectors = F.normalize(language[topic] + 0.3 * torch.randn(PHOTOS, WIDTH, generator=generator), dim=1)
    source = (np.arange(PHOTOS) < 30).astype(np.int64)
    captions = Captions(vectors, np.arange(PHOTOS), source)
    photos = seen(generator, topic)
    inverted = [replace(seen(generator, topic[:count]), pooled=2 - photos.pooled[:count]) for count in (40, 20)]
    pairs = [torch.arange(len(one.pooled)) for one in inverted]
    depth = {
        name: Rendered(one, paired, photos.pooled[paired])
        for name, one, paired in zip(("a/depth", "b/depth"), inverted, pairs, strict=True)
    }
    return Material(photos, topic.numpy(), source, captions, {"depth": depth}, ("large", "small"))


@pytest.fixture
def towers(material: Material) -> Towers:
    torch.manual_seed(0)
    towers = Towers(SHAPE, WEIGHTS, {"depth": 2}, {"depth": 1.0})
    fit_bases(towers, material)
    return towers


@torch.no_grad()
def hits(towers: Towers, material: Material) -> float:
    """How often a caption's best photo shows its topic."""
    asked = F.normalize(towers.query("caption", towers.captions(material.captions.vectors)), dim=1)
    items = F.normalize(towers.item(towers.photos(material.photos)), dim=1)
    best = (asked @ items.T).argmax(dim=1).numpy()
    return float(np.mean(material.thing[best] == material.thing))


def test_towers_find_what_the_untrained_words_do_not(towers: Towers, material: Material, tmp_path: Path) -> None:
    before = hits(towers, material)
    train_towers(towers, material, SCHEDULE, tmp_path, lambda line: None)
    set_means(towers, material)
    assert before < 0.3
    assert hits(towers, material) > 0.8


def test_a_run_that_was_stopped_ends_in_the_same_weights(material: Material, tmp_path: Path) -> None:
    def made() -> Towers:
        torch.manual_seed(0)
        towers = Towers(SHAPE, WEIGHTS, {"depth": 2}, {"depth": 1.0})
        fit_bases(towers, material)
        return towers

    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("step 40"):
            raise Stopped

    whole, parted = made(), made()
    train_towers(whole, material, SCHEDULE, tmp_path, lambda line: None)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(Stopped):
        train_towers(made(), material, SCHEDULE, other, stop)
    train_towers(parted, material, SCHEDULE, other, lambda line: None)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parted.state_dict()[name]), name


def test_a_checkpoint_of_another_schedule_is_refused(towers: Towers, material: Material, tmp_path: Path) -> None:
    train_towers(towers, material, Schedule(steps=1, batch=8), tmp_path, lambda line: None)
    assert (tmp_path / CHECKPOINT).is_file()
    with pytest.raises(ValueError, match="another schedule"):
        train_towers(towers, material, Schedule(steps=2, batch=8), tmp_path, lambda line: None)


def test_a_checkpoint_of_other_data_is_refused(towers: Towers, material: Material, tmp_path: Path) -> None:
    schedule = Schedule(steps=1, batch=8)
    train_towers(towers, material, schedule, tmp_path, lambda line: None)
    fewer = replace(material, sources=("large", "other"))
    with pytest.raises(ValueError, match="other data"):
        train_towers(towers, fewer, schedule, tmp_path, lambda line: None)


@torch.no_grad()
def test_blocks_are_of_length_1_and_a_vector_weighs_them(towers: Towers, material: Material) -> None:
    blocks = towers.photos(material.photos)
    for rows in blocks.values():
        assert rows.norm(dim=1) == pytest.approx(1.0, abs=1e-4)
    assert towers.item(blocks).norm(dim=1) == pytest.approx(2.0, abs=1e-4)
    depth = material.rendered["depth"]["a/depth"].seen
    asked = towers.query("depth", towers.rendered("depth", depth))
    assert asked[:, : SHAPE.looks].norm(dim=1) == pytest.approx(1.0, abs=1e-4)
    assert asked[:, SHAPE.looks : 2 * SHAPE.looks].norm(dim=1) == pytest.approx(2.0, abs=1e-4)
    assert not asked[:, 2 * SHAPE.looks :].any(), "a depth map has no words"


@torch.no_grad()
def test_a_rendering_is_centred_on_the_mean_of_the_nearest_source(towers: Towers, material: Material) -> None:
    for source in material.rendered["depth"].values():
        blocks = towers.rendered("depth", source.seen)
        assert float(blocks["whole"].mean(dim=0).norm()) < 0.35


@torch.no_grad()
def test_a_map_is_learned_from_renderings_to_their_photos(towers: Towers, material: Material) -> None:
    """Depth maps here look like their photos turned inside out: the look itself finds the wrong ones."""
    asked = material.rendered["depth"]["a/depth"]
    photos = towers.photos(material.photos.at(asked.paired))["whole"]

    def found(share: float) -> float:
        towers.mapped["depth"] = share
        best = (towers.rendered("depth", asked.seen)["whole"] @ photos.T).argmax(dim=1).numpy()
        return float(np.mean(material.thing[best] == material.thing[: len(best)]))

    assert found(0.0) < 0.1
    assert found(5.0) > 0.9


@torch.no_grad()
def test_a_source_of_captions_that_are_all_alike_is_a_kind(material: Material) -> None:
    alike = F.normalize(torch.eye(WIDTH)[:1] + 0.02 * torch.randn(30, WIDTH), dim=1)
    vectors = torch.cat([alike, F.normalize(torch.randn(PHOTOS - 30, WIDTH), dim=1)])
    source = (np.arange(PHOTOS) >= 30).astype(np.int64)
    captions = replace(material.captions, vectors=vectors, source=source)
    assert kinds(captions) == [0]
    towers = Towers(SHAPE, WEIGHTS, {"rgb": 1, "caption": 1}, {})
    set_means(towers, replace(material, captions=captions, source=source))
    assert towers.captions(alike)["words"].mean(dim=0).norm() < 0.2, "centred on their own mean"


@torch.no_grad()
def test_what_is_saved_is_what_is_loaded(towers: Towers, material: Material, tmp_path: Path) -> None:
    set_means(towers, material)
    save_towers(towers, tmp_path / FILE)
    loaded = load_towers(tmp_path / FILE)
    assert loaded.weights == WEIGHTS
    ours, theirs = (one.item(one.photos(material.photos)) for one in (towers, loaded))
    assert F.cosine_similarity(ours, theirs).min() > 0.999


def test_small_sources_are_drawn_whole_first() -> None:
    source = np.array([0] * 100 + [1] * 5)
    rows = balanced(source, 20).numpy()
    assert len(set(rows.tolist())) == 20
    assert (source[rows] == 1).sum() == 5
    assert len(balanced(source, 500)) == 105


def test_batches_are_a_function_of_seed_and_step_and_mix_sources(material: Material) -> None:
    captions, photos, things = Batches(material, SCHEDULE).step(3)
    again = Batches(material, SCHEDULE).step(3)
    assert torch.equal(captions, again[0])
    assert torch.equal(photos, again[1])
    assert np.array_equal(material.thing[photos.numpy()], things.numpy())
    assert set(material.captions.source[captions.numpy()].tolist()) == {0, 1}


def test_a_choice_leaves_sources_and_research_out() -> None:
    def about(**attributes: str) -> Described:
        return Described("captions/open/1", attributes, ())

    assert Choice().takes(about(source="coco", licence_class="research"))
    assert not Choice(open_only=True).takes(about(source="coco", licence_class="research"))
    assert Choice(open_only=True).takes(about(source="coco"))
    assert not Choice(frozenset({"coco"})).takes(about(source="coco"))
    assert not Choice(frozenset({"captions"})).takes(about())
