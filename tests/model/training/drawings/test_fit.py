"""The reader learns names from the drawings that may have them, and to tell drawings from edges."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.encoders.efficientnet import CHANNELS, COARSE, EfficientNetLite0
from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.towers.space import whole_vectors
from anyseek.model.training.drawings.fit import (
    Lessons,
    fit_head,
    fit_origin,
    fit_words,
    is_left_out,
    lessons,
    untrained_reader,
)
from anyseek.model.training.drawings.material import Example, Maps

CLASSES = {"quickdraw": ("cat", "horse"), "sketchy": ("cat", "hot dog"), "emoji": ("horse face",), "photos": (None,)}


def blank(generator: np.random.Generator) -> ByteArray:
    return np.zeros((8, 8), np.uint8)


def sentences(texts: Sequence[str]) -> Tensor:
    rows = [torch.randn(WIDTH, generator=torch.Generator().manual_seed(len(text))) for text in texts]
    return F.normalize(torch.stack(rows), dim=1)


def material() -> tuple[list[Example], Maps]:
    """80 drawings of each class, whose pooled vectors have the class's own channel."""
    pairs = [(source, name) for source, names in CLASSES.items() for name in names for _ in range(80)]
    examples = [Example(f"{source}/{n}", source, name, blank) for n, (source, name) in enumerate(pairs)]
    known = [*dict.fromkeys(name for _, name in pairs)]
    generator = np.random.default_rng(0)
    pooled = generator.random((len(pairs), CHANNELS)).astype(np.float16)
    for row, (_, name) in enumerate(pairs):
        pooled[row, known.index(name)] += 20
    coarse = generator.standard_normal((len(pairs), *COARSE)).astype(np.float16)
    return examples, Maps(coarse, pooled, np.arange(len(pairs)))


def learned(left_out: Sequence[str] = ()) -> Lessons:
    return lessons(*material(), left_out, sentences)


def test_a_name_is_left_out_with_all_that_have_its_words() -> None:
    assert is_left_out("horse face", ["horse"])
    assert not is_left_out("horseshoe", ["horse"])
    assert not is_left_out("hot dog", ["hot dog stand"])
    assert set(learned(["horse", "dog"]).vocabulary) == {"cat"}


def test_a_source_has_its_own_names_and_edges_have_none() -> None:
    known = learned()
    assert known.vocabulary == ("cat", "horse", "hot dog", "horse face")
    assert known.kept == 3  # those of emoji are learned, and not told
    assert known.masks.tolist() == [[False, False, False, True], [True, True, False, False], [True, False, True, False]]
    assert len(known.rows) == 5 * 80


def test_the_head_tells_drawings_apart_and_the_origin_their_makers() -> None:
    examples, maps = material()
    known = learned()
    torch.manual_seed(0)
    reader = untrained_reader(EfficientNetLite0(), known)
    fit_head(reader, known, torch.from_numpy(maps.pooled).float()[known.rows], 0)
    pooled = torch.from_numpy(maps.pooled).float()
    logits = reader.logits(reader.words(pooled[known.rows]), known.sentences)
    best = logits.masked_fill(~known.masks[known.sources], -torch.inf).argmax(dim=1)
    assert torch.equal(best, known.names)
    fit_origin(reader, examples, maps)
    by_hand = reader.by_hand(whole_vectors(pooled)) >= 0.5
    assert by_hand.tolist() == [each.by_hand for each in examples]


def test_a_killed_fit_goes_on_after_its_last_epoch(tmp_path: Path) -> None:
    known, (_, maps) = learned(), material()
    torch.manual_seed(0)
    encoder = EfficientNetLite0()
    first = untrained_reader(encoder, known)
    fit_words(first, known, maps, 1, tmp_path / "state.pt", 0, lambda line: None)
    again, steps = untrained_reader(encoder, known), list[str]()
    fit_words(again, known, maps, 1, tmp_path / "state.pt", 0, steps.append)
    assert torch.equal(again.words.weight, first.words.weight)
    assert not torch.equal(first.words.weight, untrained_reader(encoder, known).words.weight)
