"""Fit a dense decoder to features of rooms.

    python -m anyseek.model.training.dense.fit runs/dense/rooms --validation runs/dense/rooms-val --to runs/dense/open
    python -m anyseek.model.training.dense.fit runs/dense/rooms runs/dense/nyu --validation runs/dense/rooms-val \\
        --to runs/dense/all

Maps and images of `anyseek.model.training.dense.features` are the material; the encoder itself stays as it is. Every
`evaluate_every` steps the averaged weights are measured on the validation samples and a row is added to
`evaluation.csv`. A second call resumes from the last checkpoint; the same seed ends in the same weights.
"""

import csv
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from anyseek.model.data.samples import Split
from anyseek.model.fourm.bundled.dense_decoder import FILE, SEEN, TARGETS, DenseDecoder, save_decoder
from anyseek.model.training.dense.finishing import set_offsets, set_unit
from anyseek.model.training.dense.labels import bundled_labels
from anyseek.model.training.dense.material import Material
from anyseek.model.training.dense.objective import label_weights, losses, measured
from anyseek.model.training.run.config import warmed_cosine

CHECKPOINT, EVALUATION = "checkpoint.pt", "evaluation.csv"
_AT_ONCE = 32  # validation samples
_UNKNOWN = 1e4  # the error of an input that no validation sample has, which is never the best one


@dataclass(frozen=True)
class Schedule:
    """How a decoder is fitted: AdamW, its rate rising for `warm_up` steps and then falling along a cosine."""

    steps: int = 2_500
    batch: int = 32
    rate: float = 2e-3
    decay: float = 0.02
    warm_up: int = 100
    average: float = 0.995
    seed: int = 0
    evaluate_every: int = 250

    def rate_at(self, step: int) -> float:
        """The rate of one step."""
        return self.rate * warmed_cosine(step, self.steps, self.warm_up)


class Fit:
    """A decoder that is being fitted, its moving average, which is what counts in the end, and the optimiser."""

    def __init__(self, decoder: DenseDecoder, schedule: Schedule) -> None:
        self.decoder = decoder.to(memory_format=torch.channels_last).requires_grad_(True)  # type: ignore[call-overload]
        self.average: DenseDecoder = deepcopy(decoder).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(decoder.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
        self.schedule, self.step = schedule, 0

    def advance(self, material: Material, weights: Tensor) -> float:
        """One step; the loss."""
        batch = material.batch(self._drawn(len(material)))
        levels = [level.contiguous(memory_format=torch.channels_last) for level in batch.levels]
        with torch.autocast("cpu", torch.bfloat16):
            decoded = self.decoder(levels, batch.inputs)
        loss = losses(decoded.as_float(), batch, weights).total()
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.rate_at(self.step)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        self._move_average()
        return float(loss.detach())

    def _drawn(self, things: int) -> list[int]:
        """The places of this step: every pass over all things is in another random order."""
        first = self.step * self.schedule.batch
        places = range(first, first + self.schedule.batch)
        orders = {
            turn: np.random.default_rng([self.schedule.seed, turn]).permutation(things)
            for turn in {place // things for place in places}
        }
        return [int(orders[place // things][place % things]) for place in places]

    @torch.no_grad()
    def _move_average(self) -> None:
        kept = min(self.schedule.average, self.step / (self.step + 10))
        for slow, fast in zip(self.average.parameters(), self.decoder.parameters(), strict=True):
            slow.lerp_(fast, 1 - kept)

    def save(self, path: Path) -> None:
        """Write everything that goes on later."""
        beside = path.with_name(f".{path.name}.partial")
        state = {"schedule": asdict(self.schedule), "step": self.step}
        parts = {name: getattr(self, name).state_dict() for name in ("decoder", "average", "optimiser")}
        torch.save(state | parts, beside)
        beside.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one. Raises `ValueError` if it is of another schedule."""
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        if state["schedule"] != asdict(self.schedule):
            raise ValueError(f"{path} is of another schedule; delete it, or fit into another folder")
        for name in ("decoder", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]


def fit_decoder(
    decoder: DenseDecoder,
    training: Material,
    validation: Material,
    schedule: Schedule,
    to: Path,
    say: Callable[[str], object],
) -> DenseDecoder:
    """Fit to the end, from the folder's checkpoint if there is one; the averaged decoder, finished."""
    fit, weights = Fit(decoder, schedule), label_weights(training.label_counts(decoder.labels))
    fit.resume(to / CHECKPOINT)
    recent: list[float] = []
    while fit.step < schedule.steps:
        recent.append(fit.advance(training, weights))
        if fit.step % schedule.evaluate_every == 0 or fit.step == schedule.steps:
            fit.average.errors.copy_(measured(fit.average, validation.batches(_AT_ONCE)).nan_to_num(_UNKNOWN))
            fit.save(to / CHECKPOINT)
            _report(to / EVALUATION, fit, float(np.mean(recent)), say)
            recent = []
    set_unit(fit.average, validation.batches(_AT_ONCE))
    set_offsets(fit.average, validation.batches(_AT_ONCE))
    return fit.average


def _report(path: Path, fit: Fit, loss: float, say: Callable[[str], object]) -> None:
    row: dict[str, float] = {"step": fit.step, "loss": loss}
    for target, errors in zip(TARGETS, fit.average.errors.tolist(), strict=True):
        row |= {f"{target}_from_{name}": error for name, error in zip(SEEN, errors, strict=True) if name != target}
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    shown = ("loss", *(f"{target}_from_{SEEN[0]}" for target in TARGETS))
    say(f"step {fit.step}  " + "  ".join(f"{name} {row[name]:.3f}" for name in shown))


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--validation", required=True, multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--steps", type=click.IntRange(min=1), default=Schedule.steps, show_default=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=Schedule.rate, show_default=True)
def main(folders: Sequence[Path], validation: Sequence[Path], to: Path, steps: int, rate: float) -> None:
    """Fit a decoder and write it into a folder."""
    torch.set_num_threads(1)
    torch.manual_seed(Schedule.seed)
    to.mkdir(parents=True, exist_ok=True)
    labels = max(bundled_labels().values()) + 1
    decoder = DenseDecoder(labels)
    training = Material(folders, Split.TRAIN)
    click.echo(f"{len(training):,} things seen, {sum(one.numel() for one in decoder.parameters()):,} parameters")
    schedule = Schedule(steps=steps, rate=rate)
    save_decoder(fit_decoder(decoder, training, Material(validation, Split.VAL), schedule, to, click.echo), to / FILE)
    click.echo(f"written to {to / FILE}")


if __name__ == "__main__":
    main()
