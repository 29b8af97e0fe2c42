"""`anyseek train`: train networks on data sets of shards."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from anyseek.api.commands.output import say

DONE, WRONG_CONFIG, INTERRUPTED = 0, 2, 130


@click.group()
def train() -> None:
    """Train networks on data sets of shards."""


@train.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The run's folder; runs/NAME by default.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the run's folder.")
@click.option("--device", help="The device, such as cpu or cuda:1; by default a GPU if there is one.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    help="Number of processes on this machine that train together.",
)
def model(config: Path, out: Path | None, resume: bool, device: str | None, processes: int) -> int:
    """Pretrain a 4M network as CONFIG says, on any modalities that the shards of its data sets hold.

    The run's folder gets checkpoints, metrics.csv and evaluation.csv, and at the end model.safetensors. Ctrl-C saves
    and ends. The same command with --resume goes on, even after a kill, and ends in the same weights. docs/training.md
    lists the keys of a config, and how torchrun starts a run on several machines.

    Exits with 0 when it is done, 130 if it was interrupted, 1 if it failed, 2 for a wrong config.
    """
    if processes > 1:
        from anyseek.model.training.run.launching import run_processes

        options = [*(["--out", str(out)] if out else []), *(["--resume"] if resume else [])]
        options += ["--device", device] if device else []
        command = [sys.executable, "-m", "anyseek", "train", "model", str(config), *options]
        return run_processes(command, processes, lambda line: say(f"anyseek: {line}", err=True))
    from anyseek.model.training.pretraining.train import train_model

    return _run(train_model, config, out, resume, device)


@train.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The run's folder; runs/NAME by default.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the run's folder.")
@click.option("--device", help="The device, such as cpu or cuda:1; by default a GPU if there is one.")
def tokenizer(config: Path, out: Path | None, resume: bool, device: str | None) -> int:
    """Train a tokenizer as CONFIG says, of pictures, maps or vectors that the shards of its data sets hold.

    The run's folder gets checkpoints, metrics.csv and evaluation.csv, pictures of reconstructions, and at the end
    tokenizer.safetensors. Ctrl-C saves and ends. The same command with --resume goes on, even after a kill, and ends in
    the same weights. docs/tokenizers.md lists the keys of a config.

    Exits with 0 when it is done, 130 if it was interrupted, 1 if it failed, 2 for a wrong config.
    """
    from anyseek.model.training.tokenizing.train import train_tokenizer

    return _run(train_tokenizer, config, out, resume, device)


def _run(training: Callable[..., bool], config: Path, out: Path | None, resume: bool, device: str | None) -> int:
    """Run a training and return its exit code."""
    from anyseek.model.training.run.errors import TrainingConfigInvalid
    from anyseek.model.training.run.launching import leave

    folder = out or Path("runs") / config.stem
    try:
        is_finished = training(config, folder, resume=resume, device=device, say=say)
    except TrainingConfigInvalid as error:
        say(f"anyseek: {error}", err=True)
        return WRONG_CONFIG
    if not is_finished and os.environ.get("RANK", "0") == "0":
        say(f"interrupted; run the same command with --resume to go on from {folder}", err=True)
    leave(DONE if is_finished else INTERRUPTED)
    return DONE if is_finished else INTERRUPTED
