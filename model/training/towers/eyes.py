"""Fine-tune the image encoder's last stages on captions.

    python -m anyseek.model.training.towers.eyes runs/towers/captions --towers runs/towers/all --to runs/towers/eyes

It starts from towers made by `fit` and from the map at stride 16 that features keep (`--fine rgb`), so the first two
thirds of the encoder are never computed. The captions of a batch should find their photos among those of the batch and
of a bank of others, whose vectors date from their last visit. To keep pooled vectors near those of the frozen encoder,
one minus their cosine is added to the loss. Every `evaluate_every` steps, the validation split is evaluated and a row
is added to `evaluation.csv`. A second call resumes from the last checkpoint; the same seed ends in the same weights.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from anyseek.model.data.samples import Split
from anyseek.model.encoders.conse import conse
from anyseek.model.encoders.efficientnet import FINE_BLOCKS, EfficientNetLite0, Features, load_efficientnet
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.home import default_home
from anyseek.model.towers.space import CONSE_TEMPERATURE, FILE, Seen, Towers, load_towers, save_towers
from anyseek.model.training.run.config import warmed_cosine
from anyseek.model.training.towers.contrast import Batches, Schedule, tower_inputs
from anyseek.model.training.towers.features import described_in
from anyseek.model.training.towers.fit import read_classes
from anyseek.model.training.towers.material import PHOTO, Choice, Material, read_material

EYES = "eyes.safetensors"
CHECKPOINT, EVALUATION = "checkpoint.pt", "evaluation.csv"
_LOGARITHM = 3.5  # of the inverse temperature
_BLOCKED = -1e4


@dataclass(frozen=True)
class EyesSchedule:
    """How the last stages are trained; rates are those of AdamW at their peak, for the stages and for the towers."""

    steps: int = 2_000
    batch: int = 64
    rate: float = 1e-4
    tower_rate: float = 3e-4
    decay: float = 0.05
    warm_up: int = 100
    drift: float = 2.0
    bank: int = 2_048
    seed: int = 0
    evaluate_every: int = 100


@dataclass(frozen=True)
class Photographed:
    """Photos with captions, and their maps at stride 16: `fine` float16 (n, 112, 14, 14)."""

    material: Material
    fine: Tensor


class Eyes:
    """The encoder whose last stages are trained, the towers on top, and the sentences of ConSE's classes."""

    def __init__(self, encoder: EfficientNetLite0, towers: Towers, classes: Tensor) -> None:
        self.encoder, self.towers, self._classes = encoder, towers, classes
        for tensor in (*encoder.blocks[FINE_BLOCKS:].parameters(), *encoder.head.parameters()):
            tensor.requires_grad_(True)
        for tower in (towers.photo, towers.caption):
            tower.requires_grad_(True)

    @property
    def stages(self) -> dict[str, Tensor]:
        """The tensors of the encoder that are trained, by name."""
        return {name: one for name, one in self.encoder.named_parameters() if one.requires_grad}

    def photos(self, fine: Tensor) -> tuple[Tensor, Features]:
        """Unit vectors of the photo tower (B, learned), and what the encoder makes of the maps."""
        found = self.encoder.finish(fine.float().contiguous(memory_format=torch.channels_last))
        words = conse(found.logits, self._classes, CONSE_TEMPERATURE)
        seen = Seen(found.pooled, found.grid.amax(dim=(2, 3)), found.parts, words)
        return self.towers.photo(self.towers.tower_input(seen)), found

    def captions(self, vectors: Tensor) -> Tensor:
        """Unit vectors of the caption tower, from MiniLM's (B, 384)."""
        found: Tensor = self.towers.caption(vectors)
        return found


def read_photographed(folders: Sequence[Path], choice: Choice, classes: Tensor, split: Split) -> Photographed:
    """A split's photos of folders whose features were kept with `--fine rgb`. Raises `ValueError`."""
    material = read_material(folders, choice, classes, split)
    fine = [_read_fine(path, choice) for folder in folders for path in sorted(folder.glob(f"{split}-*.safetensors"))]
    maps = torch.cat([one for one in fine if len(one)])
    if len(maps) != len(material.thing):
        raise ValueError(
            f"{len(material.thing):,} photos have {len(maps):,} maps at stride 16; keep them with --fine rgb"
        )
    return Photographed(material, maps)


def _read_fine(path: Path, choice: Choice) -> Tensor:
    with safe_open(path, "pt") as file:
        kept = [row for row, one in enumerate(described_in(file)) if choice.takes(one)]
        there = file.get_tensor(f"{PHOTO}/pooled").any(dim=1)
        rows = [row for row in kept if there[row]]
        maps: Tensor = file.get_tensor(f"{PHOTO}/fine")[rows]
    return maps


def train_eyes(
    eyes: Eyes,
    training: Photographed,
    validation: Photographed,
    schedule: EyesSchedule,
    to: Path,
    say: Callable[[str], None],
) -> None:
    """Train to the end, from the folder's checkpoint if there is one.

    Raises `ValueError` if that is of another schedule.
    """
    optimiser = _optimiser(eyes, schedule)
    material = training.material
    with torch.no_grad():
        bank = torch.cat([eyes.towers.photo(rows) for rows in torch.split(tower_inputs(eyes.towers, material), 1024)])
    first = _resume(to / CHECKPOINT, eyes, optimiser, bank, schedule)
    batches = Batches(material, Schedule(batch=schedule.batch, seed=schedule.seed))
    for step in range(first, schedule.steps):
        if step % schedule.evaluate_every == 0 and (step == 0 or step > first):
            _report(to / EVALUATION, step, eyes, validation, say)
            _save(to / CHECKPOINT, eyes, optimiser, bank, schedule, step)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * warmed_cosine(step, schedule.steps, schedule.warm_up)
        loss = _loss(eyes, training, batches.step(step), bank, schedule, step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([one for group in optimiser.param_groups for one in group["params"]], 1.0)
        optimiser.step()
    _report(to / EVALUATION, schedule.steps, eyes, validation, say)
    _save(to / CHECKPOINT, eyes, optimiser, bank, schedule, schedule.steps)


def _optimiser(eyes: Eyes, schedule: EyesSchedule) -> torch.optim.Optimizer:
    towers = [*eyes.towers.photo.parameters(), *eyes.towers.caption.parameters()]
    groups = [
        {"params": list(eyes.stages.values()), "peak": schedule.rate},
        {"params": towers, "peak": schedule.tower_rate},
    ]
    return torch.optim.AdamW(groups, lr=schedule.rate, weight_decay=schedule.decay)


def _loss(
    eyes: Eyes,
    training: Photographed,
    drawn: tuple[Tensor, Tensor, Tensor],
    bank: Tensor,
    schedule: EyesSchedule,
    step: int,
) -> Tensor:
    """InfoNCE in both directions, and the drift. Writes the photos' vectors into the bank."""
    material = training.material
    captions, photos, things = drawn
    vectors, found = eyes.photos(training.fine[photos])
    asked = eyes.captions(material.captions.vectors[captions])
    generator = np.random.default_rng([schedule.seed, 1, step])
    others = torch.from_numpy(generator.choice(len(bank), min(schedule.bank, len(bank)), replace=False))
    scores = asked @ torch.cat([vectors, bank[others]]).T * float(np.exp(_LOGARITHM))
    own = torch.from_numpy(material.thing[others.numpy()])
    same = (things[:, None] == torch.cat([things, own])[None, :]).fill_diagonal_(False)
    right = torch.arange(len(scores))
    forth = F.cross_entropy(scores.masked_fill(same, _BLOCKED), right)
    inside = scores[:, : len(scores)].masked_fill(same[:, : len(scores)], _BLOCKED)
    frozen = material.photos.pooled[photos].float()
    drift = 1 - F.cosine_similarity(found.pooled, frozen).mean()
    bank[photos] = vectors.detach()
    return (forth + F.cross_entropy(inside.T, right)) / 2 + schedule.drift * drift


@torch.no_grad()
def recall(eyes: Eyes, photographed: Photographed) -> dict[str, float]:
    """R@10 of captions among all photos, by source, by ConSE's cosine and the towers' with their weights."""
    material, towers = photographed.material, eyes.towers
    seen = [eyes.photos(maps) for maps in torch.split(photographed.fine, 64)]
    vectors = torch.cat([one for one, _ in seen])
    words = material.photos.words - material.photos.words.mean(dim=0)
    asked = material.captions.vectors
    weights = towers.weights["caption"]
    scores = weights.words * F.normalize(asked, dim=1) @ F.normalize(words, dim=1).T
    scores += (
        weights.learned * eyes.captions(material.captions.vectors) @ F.normalize(vectors - vectors.mean(dim=0), dim=1).T
    )
    own = torch.from_numpy(material.captions.photo)
    hits = ((scores >= scores.gather(1, own[:, None])).sum(dim=1) <= 10).numpy()
    by_source = {
        material.sources[number]: float(hits[material.captions.source == number].mean())
        for number in np.unique(material.captions.source)
    }
    return {"all": float(hits.mean()), **by_source}


def _report(path: Path, step: int, eyes: Eyes, validation: Photographed, say: Callable[[str], None]) -> None:
    found = {"step": step, **recall(eyes, validation)}
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(found))
        if new:
            writer.writeheader()
        writer.writerow(found)
    say("  ".join(f"{name} {value:.3f}" if name != "step" else f"step {value}" for name, value in found.items()))


def _save(
    path: Path, eyes: Eyes, optimiser: torch.optim.Optimizer, bank: Tensor, schedule: EyesSchedule, step: int
) -> None:
    state = {
        "schedule": asdict(schedule),
        "step": step,
        "stages": eyes.stages,
        "towers": eyes.towers.state_dict(),
        "optimiser": optimiser.state_dict(),
        "bank": bank,
    }
    beside = path.with_name(f".{path.name}.partial")
    torch.save(state, beside)
    beside.replace(path)


@torch.no_grad()
def _resume(path: Path, eyes: Eyes, optimiser: torch.optim.Optimizer, bank: Tensor, schedule: EyesSchedule) -> int:
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    if state["schedule"] != asdict(schedule):
        raise ValueError(f"{path} is of another schedule; delete it, or train into another folder")
    for name, tensor in eyes.stages.items():
        tensor.copy_(state["stages"][name])
    eyes.towers.load_state_dict(state["towers"])
    optimiser.load_state_dict(state["optimiser"])
    bank.copy_(state["bank"])
    return int(state["step"])


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--towers", "begin", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--left-out", multiple=True, help="A source that is not trained on, but asked; may be repeated.")
@click.option("--open", "open_only", is_flag=True, help="Use open data alone.")
@click.option("--steps", type=click.IntRange(min=1), default=EyesSchedule.steps, show_default=True)
def main(
    folders: tuple[Path, ...], begin: Path, to: Path, left_out: tuple[str, ...], open_only: bool, steps: int
) -> None:
    """Fine-tune the encoder's last stages and the towers of a space, and write both into a folder."""
    torch.set_num_threads(1)
    to.mkdir(parents=True, exist_ok=True)
    classes = read_classes()
    training = read_photographed(folders, Choice(frozenset(left_out), open_only), classes, Split.TRAIN)
    validation = read_photographed(folders, Choice(), classes, Split.VAL)
    click.echo(f"{len(training.fine):,} photos of {', '.join(training.material.sources)}")
    encoder = load_efficientnet(check_encoders(default_home()) / "efficientnet-lite0.safetensors")
    eyes = Eyes(encoder, load_towers(begin / FILE), classes)
    train_eyes(eyes, training, validation, EyesSchedule(steps=steps), to, click.echo)
    save_file({name: one.detach().half().contiguous() for name, one in eyes.stages.items()}, to / EYES)
    save_towers(eyes.towers, to / FILE)


if __name__ == "__main__":
    main()
