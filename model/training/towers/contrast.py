"""Train the two towers: InfoNCE between captions and photos, on the towers' own cosine.

ConSE's score is added afterwards, with a weight: towers trained on the sum learned less that transfers to other sources
(docs/transfer.md). Each batch mixes sources; small sources are drawn more often than their size suggests. Other
captions of a photo, and copies of it, do not count as wrong answers.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.towers.space import Towers
from anyseek.model.training.run.config import warmed_cosine
from anyseek.model.training.towers.material import Material

CHECKPOINT = "checkpoint.pt"
_BLOCKED = -1e4
_AT_ONCE = 1024
_FIRST_SCALE, _LARGEST_SCALE = 3.0, 4.3  # logarithms of the inverse temperature


@dataclass(frozen=True)
class Schedule:
    """How the towers are trained. `mixing`: a source is drawn in proportion to its size to this power."""

    steps: int = 1_000
    batch: int = 1024
    rate: float = 2e-3
    decay: float = 0.1
    warm_up: int = 40
    dropout: float = 0.25
    smoothing: float = 0.05
    mixing: float = 0.3
    seed: int = 0
    checkpoint_every: int = 50


class Batches:
    """The captions that query in a step, and the photos they should find: a function of the seed and the step."""

    def __init__(self, material: Material, schedule: Schedule) -> None:
        self._captions, self._schedule = material.captions, schedule
        numbers, counts = np.unique(material.captions.source, return_counts=True)
        shares = counts**schedule.mixing
        self._shares = shares / shares.sum()
        self._of_source = [np.flatnonzero(material.captions.source == number) for number in numbers]
        order = np.argsort(material.thing, kind="stable")
        self._copies = np.split(order, np.flatnonzero(np.diff(material.thing[order])) + 1)
        self._thing = material.thing

    def step(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Captions, photos and things, each int64 (batch,)."""
        generator = np.random.default_rng([self._schedule.seed, number])
        counts = generator.multinomial(self._schedule.batch, self._shares)
        asked = [
            own[generator.integers(len(own), size=count)] for own, count in zip(self._of_source, counts, strict=True)
        ]
        captions = np.concatenate(asked)
        things = self._thing[self._captions.photo[captions]]
        photos = np.array([generator.choice(self._copies[thing]) for thing in things])
        return torch.from_numpy(captions), torch.from_numpy(photos), torch.from_numpy(things)


def train_towers(
    towers: Towers, material: Material, schedule: Schedule, folder: Path, say: Callable[[str], None]
) -> None:
    """Train both towers from their first weights, or from the folder's checkpoint if there is one, to the end.

    Raises `ValueError` if the checkpoint is of another schedule, or of other photos or sources.
    """
    torch.manual_seed(schedule.seed)
    scale = torch.nn.Parameter(torch.tensor(_FIRST_SCALE))
    trained = [*towers.photo.parameters(), *towers.caption.parameters()]
    groups = [{"params": trained, "weight_decay": schedule.decay}, {"params": [scale], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=schedule.rate)
    told = _told(towers, material, schedule)
    first = _resume(folder / CHECKPOINT, towers, scale, optimiser, told)
    batches, inputs = Batches(material, schedule), tower_inputs(towers, material)
    for tower in (towers.photo, towers.caption):
        tower.dropout = schedule.dropout
        tower.train()
    for step in range(first, schedule.steps):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate * warmed_cosine(step, schedule.steps, schedule.warm_up)
        torch.manual_seed(schedule.seed * 1_000_003 + step)  # of dropout, so that a resumed run is the same
        loss = _loss(towers, material, inputs, batches.step(step), scale, schedule.smoothing)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        if (step + 1) % schedule.checkpoint_every == 0 or step + 1 == schedule.steps:
            _save(folder / CHECKPOINT, towers, scale, optimiser, told, step + 1)
            say(f"step {step + 1} of {schedule.steps}: loss {loss.item():.3f}")
    towers.eval()


@torch.no_grad()
def tower_inputs(towers: Towers, material: Material) -> Tensor:
    """The photo tower's input for all photos: (n, seen + 384)."""
    rows = torch.arange(len(material.thing))
    return torch.cat([towers.tower_input(material.photos.at(some)) for some in torch.split(rows, _AT_ONCE)])


def _loss(
    towers: Towers,
    material: Material,
    inputs: Tensor,
    drawn: tuple[Tensor, Tensor, Tensor],
    scale: Tensor,
    smoothing: float,
) -> Tensor:
    """InfoNCE of captions for photos and of photos for captions."""
    captions, photos, things = drawn
    asked = material.captions.vectors[captions]
    scores = towers.caption(asked) @ towers.photo(inputs[photos]).T
    same = (things[:, None] == things[None, :]).fill_diagonal_(False)
    scores = (scores * scale.clamp(max=_LARGEST_SCALE).exp()).masked_fill(same, _BLOCKED)
    right = torch.arange(len(scores))
    forth = F.cross_entropy(scores, right, label_smoothing=smoothing)
    return (forth + F.cross_entropy(scores.T, right, label_smoothing=smoothing)) / 2


def _told(towers: Towers, material: Material, schedule: Schedule) -> dict[str, Any]:
    """What a checkpoint must be of to be gone on with: schedule, parts of the space, photos, captions and sources."""
    parts = {name: list(tensor.shape) for name, tensor in towers.state_dict().items()}
    counts = {"photos": len(material.thing), "captions": len(material.captions.vectors)}
    return {"schedule": asdict(schedule), "parts": parts, "sources": list(material.sources), **counts}


def _save(
    path: Path,
    towers: Towers,
    scale: Tensor,
    optimiser: torch.optim.Optimizer,
    told: dict[str, Any],
    step: int,
) -> None:
    state = {
        "told": told,
        "step": step,
        "towers": towers.state_dict(),
        "scale": scale.detach(),
        "optimiser": optimiser.state_dict(),
    }
    beside = path.with_name(f".{path.name}.partial")
    torch.save(state, beside)
    beside.replace(path)


def _resume(path: Path, towers: Towers, scale: Tensor, optimiser: torch.optim.Optimizer, told: dict[str, Any]) -> int:
    """The first step to take."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    if state.get("told") != told:
        raise ValueError(f"{path} is of another schedule or of other data; delete it, or train into another folder")
    towers.load_state_dict(state["towers"])
    with torch.no_grad():
        scale.copy_(state["scale"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
