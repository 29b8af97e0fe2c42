"""`anyseek train`: train networks on data sets of shards."""

from pathlib import Path

import click

DONE, WRONG_CONFIG, INTERRUPTED = 0, 2, 130


@click.group()
def train() -> None:
    """Train networks on data sets of shards."""


@train.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The run's folder; else runs/NAME.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the run's folder.")
@click.option("--device", help="Such as cpu or cuda:1; else a GPU if there is one.")
def model(config: Path, out: Path | None, resume: bool, device: str | None) -> int:
    """Pretrain a 4M network as CONFIG says, on any modalities that the shards of its data sets hold.

    The run's folder gets checkpoints, metrics.csv and evaluation.csv, the same for TensorBoard, curves.png, and in the
    end model.safetensors. Ctrl-C saves and ends; the same command with --resume goes on, also after a kill, and ends in
    the same weights. docs/training.md lists what a config can say.

    Exits with 0 when it is done, 130 if it was interrupted, 1 if it failed, 2 for a wrong config.
    """
    from model.training.pretraining.errors import TrainingConfigInvalid
    from model.training.pretraining.train import train_model

    folder = out or Path("runs") / config.stem
    try:
        ended = train_model(config, folder, resume=resume, device=device, say=click.echo)
    except TrainingConfigInvalid as error:
        click.echo(f"anyseek: {error}", err=True)
        return WRONG_CONFIG
    if not ended:
        click.echo(f"interrupted; run the same command with --resume to go on from {folder}", err=True)
    return DONE if ended else INTERRUPTED
