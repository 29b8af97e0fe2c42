"""Fits the reader of drawings: the last two blocks of the image encoder, a vector of words, and their origin.

The softmax of a drawing is masked to the names that its source has: a source without horses must not teach that its
strokes are never a horse. m renderings, n names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.encoders.efficientnet import COARSE_BLOCKS, EfficientNetLite0
from anyseek.model.towers.drawings import DrawingReader, ReaderSettings
from anyseek.model.towers.space import whole_vectors
from anyseek.model.training.drawings.material import Example, Maps

_BATCH = 32
_BLOCK_RATE, _HEAD_RATE, _DECAY = 4e-4, 1.5e-3, 0.05
_WARM_UP = 0.1  # of all steps
_HEAD_BATCH, _HEAD_EPOCHS = 128, 15
_DROPOUT = 0.2
_NEIGHBOURS, _NEARNESS = 0.15, 0.08  # the share of a target that near names have, and the temperature of their cosines
_PENALTY = 1e-4  # on the weights that tell drawings from edges
Say = Callable[[str], None]


@dataclass(frozen=True)
class Lessons:
    """The renderings (m,) that are learned from: their rows of the maps, names, and the masks of their sources.

    `masks` bool (sources, n) are the names that each source has, `sources` (m,) their rows. `sentences` (n, 384) are of
    all names, of which the reader keeps the first `kept`.
    """

    rows: Tensor
    names: Tensor
    sources: Tensor
    masks: Tensor
    sentences: Tensor
    vocabulary: tuple[str, ...]
    kept: int


def is_left_out(name: str, left_out: Sequence[str]) -> bool:
    """Whether a name has all words of one that is left out."""
    words = set(name.replace("-", " ").replace(",", " ").split())
    return any(words.issuperset(each.split()) for each in left_out)


def lessons(
    examples: Sequence[Example], maps: Maps, left_out: Sequence[str], sentences: Callable[[Sequence[str]], Tensor]
) -> Lessons:
    """The drawings by hand with a name that is not left out."""
    own = [
        (row, each)
        for row, number in enumerate(maps.examples)
        if (each := examples[number]).name is not None and not is_left_out(each.name, left_out)
    ]
    kept = sorted({each.name for _, each in own if each.source != "emoji"})
    vocabulary = [*kept, *sorted({each.name for _, each in own} - set(kept))]
    sources = sorted({each.source for _, each in own})
    numbers = {name: number for number, name in enumerate(vocabulary)}
    masks = torch.zeros(len(sources), len(vocabulary), dtype=torch.bool)
    for _, each in own:
        masks[sources.index(each.source), numbers[each.name]] = True
    return Lessons(
        torch.tensor([row for row, _ in own]),
        torch.tensor([numbers[each.name] for _, each in own]),
        torch.tensor([sources.index(each.source) for _, each in own]),
        masks,
        sentences([f"a photo of a {name}" for name in vocabulary]),
        tuple(vocabulary),
        len(kept),
    )


def untrained_reader(encoder: EfficientNetLite0, learned: Lessons) -> DrawingReader:
    """The encoder's own last blocks, with words that are not fitted."""
    reader = DrawingReader(ReaderSettings(learned.vocabulary[: learned.kept]))
    reader.blocks.load_state_dict(encoder.blocks[COARSE_BLOCKS:].state_dict())
    reader.head.load_state_dict(encoder.head.state_dict())
    reader.get_buffer("sentences").copy_(learned.sentences[: learned.kept])
    return reader.requires_grad_(True)


def fit_head(reader: DrawingReader, learned: Lessons, pooled: Tensor, seed: int) -> None:
    """Fit the words alone, to the pooled maps (m, 1280) of the lessons."""
    torch.manual_seed(seed)
    targets = _targets(learned)
    optimizer = torch.optim.AdamW([*reader.words.parameters(), reader.scale], _HEAD_RATE, weight_decay=_DECAY)
    for _ in range(_HEAD_EPOCHS):
        for chosen in torch.split(torch.randperm(len(pooled)), _HEAD_BATCH):
            loss = _loss(reader, learned, targets, pooled[chosen], chosen)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def fit_words(
    reader: DrawingReader, learned: Lessons, maps: Maps, epochs: int, state: Path, seed: int, say: Say
) -> None:
    """Train the reader, or continue: `state` is written after each epoch."""
    torch.manual_seed(seed)
    steps = -(-len(learned.rows) // _BATCH) * epochs
    optimizer, schedule = _optimizer(reader, steps)
    begun = 0
    if state.is_file():
        stored = torch.load(state, weights_only=True)
        for name, each in (("reader", reader), ("optimizer", optimizer), ("schedule", schedule)):
            each.load_state_dict(stored[name])
        begun = int(stored["epochs"])
    for epoch in range(begun, epochs):
        reader.train()
        loss = _train_epoch(reader, learned, maps, optimizer, schedule)
        say(f"epoch {epoch + 1} of {epochs}: loss {loss:.3f}")
        stored = {"reader": reader.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epoch + 1}
        torch.save({**stored, "schedule": schedule.state_dict()}, state)
    reader.eval()


def _optimizer(reader: DrawingReader, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    """Trains the blocks slowly and the words fast."""
    groups = [
        {"params": [*reader.blocks.parameters(), *reader.head.parameters()], "lr": _BLOCK_RATE},
        {"params": [*reader.words.parameters(), reader.scale], "lr": _HEAD_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=_DECAY)
    rates = [_BLOCK_RATE, _HEAD_RATE]
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=steps, pct_start=_WARM_UP, cycle_momentum=False
    )


def _train_epoch(
    reader: DrawingReader,
    learned: Lessons,
    maps: Maps,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.OneCycleLR,
) -> float:
    """The mean loss of all renderings, each mirrored or not."""
    targets, losses = _targets(learned), []
    for chosen in torch.split(torch.randperm(len(learned.rows)), _BATCH):
        coarse = torch.from_numpy(maps.coarse[learned.rows[chosen].numpy()]).float()
        mirrored = torch.rand(len(chosen), 1, 1, 1) < 0.5
        pooled = reader.pooled(torch.where(mirrored, coarse.flip(3), coarse))
        loss = _loss(reader, learned, targets, pooled, chosen)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def _targets(learned: Lessons) -> Tensor:
    """The probabilities (n, n) of all names for drawings of each: most for its own, some for near names."""
    centred = F.normalize(learned.sentences - learned.sentences.mean(dim=0), dim=1)
    cosines = centred @ centred.T
    near = (cosines / _NEARNESS).softmax(dim=1)
    return (1 - _NEIGHBOURS) * torch.eye(len(near)) + _NEIGHBOURS * near


def _loss(reader: DrawingReader, learned: Lessons, targets: Tensor, pooled: Tensor, chosen: Tensor) -> Tensor:
    vectors = reader.words(F.dropout(pooled, _DROPOUT))
    logits = reader.logits(vectors, learned.sentences)
    mask = learned.masks[learned.sources[chosen]]
    wanted = targets[learned.names[chosen]] * mask
    wanted = wanted / wanted.sum(dim=1, keepdim=True)
    logs = logits.masked_fill(~mask, -1e4).log_softmax(dim=1)
    return -(wanted * logs).sum(dim=1).mean()


def fit_origin(reader: DrawingReader, examples: Sequence[Example], maps: Maps) -> None:
    """Fit the logistic regression that tells drawings by hand from edges of photos, both weighing the same."""
    by_hand = torch.tensor([examples[number].by_hand for number in maps.examples]).float()
    looks = whole_vectors(torch.from_numpy(np.asarray(maps.pooled)))
    weights = torch.where(by_hand > 0, 0.5 / by_hand.mean(), 0.5 / (1 - by_hand.mean()))
    origin = reader.origin
    torch.nn.init.zeros_(origin.weight), torch.nn.init.zeros_(origin.bias)
    optimizer = torch.optim.LBFGS(origin.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(origin(looks)[:, 0], by_hand, weights)
        loss = loss + _PENALTY * origin.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
