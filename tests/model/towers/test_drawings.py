"""A reader of drawings gives those drawn by hand the words of what they show, and exact edges none."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.encoders.efficientnet import CHANNELS, CLASSES, COARSE, FINE_CHANNELS, PARTS, Features
from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt
from anyseek.model.towers.drawings import DrawingReader, ReaderSettings, load_drawings, save_drawings
from anyseek.model.towers.space import DRAWING, LEARNED, PHOTO, WHOLE, WORDS, Shape, Towers, Weights, whole_vectors

NAMES = ("cat", "house", "tree")
BY_HAND, EDGES = 9.0, -9.0


def reader(origin: float) -> DrawingReader:
    """A reader that takes everything for a drawing by hand, or for edges."""
    torch.manual_seed(0)
    made = DrawingReader(ReaderSettings(NAMES, words=2.0, learned=0.5))
    made.get_buffer("sentences").copy_(F.normalize(torch.randn(len(NAMES), WIDTH), dim=1))
    torch.nn.init.zeros_(made.origin.weight)
    torch.nn.init.constant_(made.origin.bias, origin)
    return made.eval().requires_grad_(False)


def features() -> Features:
    generator = torch.Generator().manual_seed(1)
    return Features(
        torch.rand(2, CHANNELS, 7, 7, generator=generator),
        torch.rand(2, CHANNELS, generator=generator),
        torch.randn(2, CLASSES, generator=generator),
        torch.rand(2, FINE_CHANNELS, PARTS, PARTS, generator=generator),
        torch.randn(2, *COARSE, generator=generator),
    )


def towers(origin: float | None) -> Towers:
    torch.manual_seed(0)
    made = Towers(Shape(8, 8, 8, 8), {PHOTO: Weights(1, 1, 0, 1), DRAWING: Weights(whole=1.0, places=1.5)}, {}, {})
    for projection in (made.whole, made.places, made.seen):
        projection.axes.normal_()
    if origin is not None:
        made.set_reader(reader(origin))
    return made.eval()


def query(made: Towers) -> dict[str, Tensor]:
    """The blocks of the vectors of two drawings."""
    inputs = made.tower_input(features(), [DRAWING, DRAWING])
    vectors = made.query_vectors(DRAWING, made.rendered_blocks(DRAWING, inputs))
    return dict(zip((WHOLE, "places", WORDS, LEARNED), vectors.split(list(made.blocks), dim=1), strict=True))


def test_words_are_those_of_the_names_by_their_probability() -> None:
    read, seen = reader(BY_HAND), features()
    words = read.weighted_words(seen.coarse, whole_vectors(seen.pooled))
    expected = F.normalize(read(seen.coarse).softmax(dim=1) @ read.get_buffer("sentences"), dim=1)
    assert torch.allclose(words, expected, atol=1e-6)


@torch.no_grad()
def test_a_drawing_has_words_in_both_blocks_as_the_reader_weighs_them() -> None:
    blocks = query(towers(BY_HAND))
    assert blocks[WORDS].norm(dim=1) == pytest.approx(2.0, abs=1e-4)
    assert blocks[LEARNED].norm(dim=1) == pytest.approx(0.5, abs=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("origin", [None, EDGES])
def test_without_a_reader_or_for_edges_there_are_looks_alone(origin: float | None) -> None:
    blocks, plain = query(towers(origin)), query(towers(None))
    assert not blocks[WORDS].any()
    assert not blocks[LEARNED].any()
    assert torch.equal(blocks[WHOLE], plain[WHOLE])


@torch.no_grad()
def test_a_photo_keeps_its_own_words() -> None:
    assert torch.equal(towers(BY_HAND).tower_input(features()).words, towers(None).tower_input(features()).words)


def test_a_file_has_the_reader_that_was_saved(tmp_path: Path) -> None:
    saved, seen = reader(BY_HAND), features()
    save_drawings(tmp_path / "drawings.safetensors", saved)
    loaded = load_drawings(tmp_path / "drawings.safetensors")
    assert loaded.settings == saved.settings
    assert torch.allclose(loaded(seen.coarse), saved(seen.coarse), atol=0.5)
    assert F.cosine_similarity(loaded.pooled(seen.coarse), saved.pooled(seen.coarse)).min() > 0.999


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "drawings.safetensors"
    path.write_bytes(b"{}")
    with pytest.raises(WeightsCorrupt, match="holds no reader of drawings"):
        load_drawings(path)
    other = reader(BY_HAND)
    other.settings = ReaderSettings(("cat",))
    save_drawings(path, other)
    with pytest.raises(CheckpointMismatch, match="holds no reader of drawings"):
        load_drawings(path)
