"""A tokenizer's run from its config file to its finished weights: `anyseek train tokenizer CONFIG`."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from model.checkpoints import file_digest, save_checkpoint
from model.data.samples import Split
from model.tokenizers.build import Tokenizer
from model.tokenizers.vqvae import VQVAE
from model.training.pretraining.data_sets import FolderShards, open_split
from model.training.pretraining.folder import RunFolder, described
from model.training.pretraining.loop import Trainer
from model.training.pretraining.state import TrainingState
from model.training.pretraining.train import carry_out, choose_device
from model.training.tokenizing.batches import InputSource
from model.training.tokenizing.beginning import begin, spread_latents
from model.training.tokenizing.config import TokenizerTraining
from model.training.tokenizing.evaluation import TokenizerEvaluation
from model.training.tokenizing.losses import TokenizerObjective
from model.training.tokenizing.read_config import read_config

TokenizerTrainer = Trainer[Tokenizer, TokenizerObjective]


def train_tokenizer(
    config_path: Path, out: Path, *, resume: bool, device: str | None, say: Callable[[str], None]
) -> bool:
    """Train what a config says, with everything in the folder `out`; True if it ended, False if it was stopped.

    A run that was killed goes on with `resume` from its last checkpoint and ends as it would have. The finished
    tokenizer is `out`/tokenizer.safetensors: averaged weights, as `load_tokenizer` reads them. `device` is torch's name
    of one; None is a GPU if there is one. Raises `TrainingError`, `DataError` and what reading weights raises.
    """
    config, folder = read_config(config_path), RunFolder(out)
    with folder.locked():
        checkpoint = folder.checkpoint(resume)
        trainer = prepare(config, folder, choose_device(device), say)
        ended = carry_out(trainer, checkpoint, config_path)
        if ended:
            with trainer.state.averages.applied(trainer.state.parameters):
                save_checkpoint(trainer.network, folder.tokenizer)
            say(f"made {folder.tokenizer}")
        return ended


def prepare(
    config: TokenizerTraining, folder: RunFolder, device: torch.device, say: Callable[[str], None]
) -> TokenizerTrainer:
    """A run before its first step."""
    data = open_split(config.data, Split.TRAIN)
    source = _source(config, data)
    network = begin(config)
    if isinstance(network, VQVAE) and config.start is None:
        maker = source.maker()
        spread_latents(network, maker.training_batch(0).values)
        maker.close()
    network.to(device)
    say(_summary(config, network, data))
    buffers = dict(network.named_buffers())
    state = TrainingState.fresh(network, config.optimiser, config.average_decay, buffers)
    objective = TokenizerObjective(config, device)
    evaluation = None
    if config.evaluation is not None:
        unseen = _source(config, open_split(config.data, Split.VAL))
        evaluation = TokenizerEvaluation(config.evaluation, unseen, objective, folder, state)
    made_with = _made_with(config, data)
    return Trainer(config, network, state, objective, source, evaluation, folder, made_with, say)


def _source(config: TokenizerTraining, data: tuple[FolderShards, ...]) -> InputSource:
    return InputSource(config.modality, config.tokenizer, data, config.data.window, config.batch.part, config.seed)


def _made_with(config: TokenizerTraining, data: tuple[FolderShards, ...]) -> dict[str, str]:
    """All that the result depends on: settings by their path, files by their bytes."""
    settings = asdict(config)
    for name in ("run", "evaluation"):
        del settings[name]
    settings["data"] = {
        "folders": [[folder.digest, folder.weight, folder.source_weights] for folder in data],
        "window": config.data.window,
    }
    settings["start"] = file_digest(config.start) if config.start is not None else ""
    return described(settings)


def _summary(config: TokenizerTraining, network: Tokenizer, data: tuple[FolderShards, ...]) -> str:
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    samples = sum(folder.samples for folder in data)
    return (
        f"{type(network).__name__} of {trained / 1e6:.2f} M parameters, {samples:,} samples, "
        f"{config.steps:,} steps of {config.batch.size} samples"
    )
