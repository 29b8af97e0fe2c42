"""Train a network from its config file to its finished weights: `anyseek train model CONFIG`."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from anyseek.model.checkpoints.files import load_vqvae, save_checkpoint, weights_digest
from anyseek.model.data.samples import Split
from anyseek.model.network.transformer import FourM
from anyseek.model.training.pretraining.batches import BatchSource
from anyseek.model.training.pretraining.config import FieldKind, TrainingConfig, read_config
from anyseek.model.training.pretraining.evaluation import Evaluation
from anyseek.model.training.pretraining.objective import Objective
from anyseek.model.training.pretraining.plan import make_plan, open_vocabulary
from anyseek.model.training.pretraining.shortcuts import read_bank
from anyseek.model.training.pretraining.start import (
    begin,
    prepare_contrast,
    save_shortcuts,
    start_digests,
    target_fields,
)
from anyseek.model.training.run.data_sets import FolderShards, open_split
from anyseek.model.training.run.folder import RunFolder, flatten_settings
from anyseek.model.training.run.loop import Trainer, run_training
from anyseek.model.training.run.processes import (
    SINGLE_PROCESS,
    Processes,
    check_divisible,
    choose_device,
    join_processes,
    local_rank,
)
from anyseek.model.training.run.state import TrainingState


def train_model(config_path: Path, out: Path, *, resume: bool, device: str | None, say: Callable[[str], None]) -> bool:
    """Train as a config says, writing everything to the folder `out`; True if finished, False if stopped.

    With `resume`, a killed run continues from its last checkpoint and ends as it would have. The finished network is
    `out`/model.safetensors: the averaged weights, as `load_fourm` reads them. `device` is a torch device name; None
    means a GPU if there is one. Started by torchrun or `launching`, it is one of several processes that train together;
    only the first reports anything. Raises `TrainingError`, `DataError` and what reading weights raises.
    """
    config, folder, chosen = read_config(config_path), RunFolder(out), choose_device(device, local_rank())
    with join_processes(chosen) as processes, ExitStack() as stack:
        if processes.is_main:
            stack.enter_context(folder.lock())
        with processes.main_process_first():
            begun = folder.checkpoint(resume)
        say = say if processes.is_main else lambda line: None
        trainer = prepare(config, folder, chosen, say, processes)
        ended = run_training(trainer, begun, config_path)
        if ended and processes.is_main:
            _save_finished(trainer)
        return ended


def _save_finished(trainer: Trainer[FourM, Objective]) -> None:
    """Write the averaged weights."""
    folder = trainer.folder
    with trainer.state.averages.applied(trainer.state.parameters):
        save_checkpoint(trainer.network, folder.model)
        if trainer.objective.contrast is not None:
            save_shortcuts(trainer.objective.contrast.shortcuts, folder.shortcuts, {})
    trainer.say(f"made {folder.model}")


def prepare(
    config: TrainingConfig,
    folder: RunFolder,
    device: torch.device,
    say: Callable[[str], None],
    processes: Processes = SINGLE_PROCESS,
) -> Trainer[FourM, Objective]:
    """Prepare a run for its first step; the main process writes files that the others read."""
    check_divisible(config.batch.accumulation, processes.count)
    data = open_split(config.data, Split.TRAIN)
    files = {m.key: m.tokenizer for m in config.modalities if m.kind is FieldKind.VECTOR and m.tokenizer is not None}
    tokenizers = {key: load_vqvae(path).to(device).requires_grad_(False) for key, path in files.items()}
    text = open_vocabulary(config, folder, data, processes)
    plan = make_plan(config, text, {key: tokenizer.config for key, tokenizer in tokenizers.items()})
    network = FourM(plan.network)
    began = begin(network, config, text, tokenizers, say)
    parameters, samples = sum(p.numel() for p in network.parameters()), sum(sum(folder.counts) for folder in data)
    say(
        f"{parameters / 1e6:.1f} M parameters, {samples:,} samples, "
        f"{config.steps:,} steps of {config.batch.size} samples and {config.tokens_per_step:,} tokens"
    )
    if config.run.activation_checkpointing:
        recompute_blocks(network)
    network.to(device)
    trained = nn.ModuleDict({"network": network})
    contrast = bank = None
    if config.contrast is not None:
        with processes.main_process_first():
            contrast, bank = prepare_contrast(config, config.contrast, data, tokenizers, began.shortcuts, folder, say)
        trained["contrast"] = contrast.to(device)
    state = TrainingState.fresh(trained, config.optimiser, config.average_decay)
    state.frozen = began.frozen(config, state.parameters)
    weights = {modality.key: modality.loss_weight for modality in config.modalities if modality.target}
    objective = Objective(config.loss, config.precision, weights, tokenizers, device, contrast, bank)
    source = BatchSource(plan, config.mixture, data, config.data.window, config.batch.part, config.seed)
    evaluation = None
    if config.evaluation is not None and processes.is_main:
        unseen = open_split(config.data, Split.VAL)
        own = None if config.contrast is None else read_bank(unseen, target_fields(config, config.contrast), say)
        measured = replace(source, folders=unseen)
        evaluation = Evaluation(config.evaluation, measured, replace(objective, bank=own))
    made_with = _made_with(config, folder, data)
    return Trainer(config, network, state, objective, source, evaluation, folder, made_with, say, processes)


def recompute_blocks(network: FourM) -> None:
    """Make every block of a network keep only its inputs. Names of parameters and results stay the same.

    A training step takes a third longer (each block runs forward twice), and memory holds the activations of one block
    instead of all.
    """
    for block in (*network.encoder, *network.decoder):
        # No layer draws random numbers, so their state need not be kept.
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


def _made_with(config: TrainingConfig, folder: RunFolder, data: tuple[FolderShards, ...]) -> dict[str, str]:
    """Everything that determines the result: settings by path, files by digest."""
    settings = config.model_dump()
    for name in ("run", "evaluation", "text", "data"):
        del settings[name]
    settings["modalities"] = {modality.pop("key"): modality for modality in settings["modalities"]}
    for modality in config.modalities:
        if modality.tokenizer is not None:
            settings["modalities"][modality.key]["tokenizer"] = weights_digest(modality.tokenizer)
    settings["data"] = {
        "folders": [[folder.digest, folder.weight, folder.source_weights] for folder in data],
        "window": config.data.window,
    }
    settings["vocabulary"] = weights_digest(folder.vocabulary) if config.text is not None else ""
    settings["start"] = start_digests(config)
    settings["shortcuts"] = weights_digest(folder.fitted) if config.contrast is not None else ""
    return flatten_settings(settings)
