"""Train a network from its config file to its finished weights: `anyseek train model CONFIG`."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from anyseek.model.checkpoints.files import load_vqvae, save_checkpoint, weights_digest
from anyseek.model.data.samples import Split
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.pretraining.batches import BatchSource
from anyseek.model.training.pretraining.config import FieldKind, TrainingConfig, read_config
from anyseek.model.training.pretraining.evaluation import Evaluation
from anyseek.model.training.pretraining.objective import Objective
from anyseek.model.training.pretraining.plan import Plan, make_plan, open_vocabulary
from anyseek.model.training.pretraining.shortcuts import read_bank
from anyseek.model.training.pretraining.start import (
    begin,
    prepare_contrast,
    save_shortcuts,
    start_digests,
    target_fields,
)
from anyseek.model.training.run.config import Sharding
from anyseek.model.training.run.data_sets import FolderShards, open_split
from anyseek.model.training.run.folder import RunFolder, described
from anyseek.model.training.run.loop import Trainer, carry_out
from anyseek.model.training.run.memory import Sharded, recompute_blocks, shard, whole_network
from anyseek.model.training.run.processes import (
    ALONE,
    Processes,
    check_divisible,
    choose_device,
    joined_processes,
    local_number,
)
from anyseek.model.training.run.state import TrainingState


def train_model(config_path: Path, out: Path, *, resume: bool, device: str | None, say: Callable[[str], None]) -> bool:
    """Train as a config says, writing everything to the folder `out`; True if finished, False if stopped.

    With `resume`, a killed run continues from its last checkpoint and ends as it would have. The finished network is
    `out`/model.safetensors: the averaged weights, as `load_fourm` reads them. `device` is a torch device name; None
    means a GPU if there is one. Started by torchrun or `launching`, it is one of several processes that train together;
    only the first reports anything. Raises `TrainingError`, `DataError` and what reading weights raises.
    """
    config, folder, chosen = read_config(config_path), RunFolder(out), choose_device(device, local_number())
    with joined_processes(chosen) as processes, ExitStack() as held:
        if processes.is_first:
            held.enter_context(folder.locked())
        with processes.first_alone():
            checkpoint = folder.checkpoint(resume)
        told = say if processes.is_first else _say_nothing
        trainer = prepare(config, folder, chosen, told, processes)
        ended = carry_out(trainer, checkpoint, config_path)
        if ended:
            _save_finished(trainer)
        return ended


def _say_nothing(line: str) -> None:
    """What a process that is not the first one says."""


def _save_finished(trainer: Trainer[FourM, Objective]) -> None:
    """Write the averages, as all processes must ask for where the network is split over them."""
    folder = trainer.folder
    with trainer.state.averages.applied(trainer.state.parameters):
        network = whole_network(trainer.network, trainer.processes)
        if network is not None:
            save_checkpoint(network, folder.model)
            if trainer.objective.contrast is not None:
                save_shortcuts(trainer.objective.contrast.shortcuts, folder.shortcuts, {})
    trainer.say(f"made {folder.model}")


def prepare(
    config: TrainingConfig,
    folder: RunFolder,
    device: torch.device,
    say: Callable[[str], None],
    processes: Processes = ALONE,
) -> Trainer[FourM, Objective]:
    """A run before its first step; the first process writes what the others read."""
    data = open_split(config.data, Split.TRAIN)
    tokenizers = _tokenizers(config, device)
    text = open_vocabulary(config, folder, data, processes)
    plan = make_plan(config, text, {key: tokenizer.config for key, tokenizer in tokenizers.items()})
    network = FourM(plan.network)
    began = begin(network, config, text, tokenizers, say)
    say(_summary(config, network, data))
    sharded = _place(network, config, device, processes)
    trained = nn.ModuleDict({"network": network})
    contrast = bank = None
    if config.contrast is not None:
        with processes.first_alone():
            contrast, bank = prepare_contrast(config, config.contrast, data, tokenizers, began.shortcuts, folder, say)
        trained["contrast"] = contrast.to(device)
    state = TrainingState.fresh(trained, config.optimiser, config.average_decay)
    state.frozen = began.frozen(config, state.parameters)
    objective = Objective.of(config, tokenizers, device, contrast, bank)
    evaluation = _evaluation(config, plan, objective, say) if processes.is_first else None
    parts = config.batch.accumulation
    objective = replace(objective, processes=processes.cutting(parts), in_step=sharded is not None)
    source = _source(config, plan, data, _slice_size(config, processes))
    made_with = _made_with(config, folder, data)
    return Trainer(config, network, state, objective, source, evaluation, folder, made_with, say, processes, sharded)


def _place(network: FourM, config: TrainingConfig, device: torch.device, processes: Processes) -> Sharded | None:
    """Bring a network to where and how it is trained; what it is entered through if it is split."""
    if config.run.activation_checkpointing:
        recompute_blocks(network)
    if config.run.sharding is Sharding.FULL and processes.count > 1:
        return shard(network, processes, device)
    network.to(device)
    return None


def _slice_size(config: TrainingConfig, processes: Processes) -> int:
    """How many samples a process has in memory at a time. Raises `TrainingConfigInvalid` if they cannot be shared."""
    slices = processes.slices(config.batch.accumulation)
    check_divisible(config.batch.size, slices, processes.count)
    return config.batch.size // slices


def _tokenizers(config: TrainingConfig, device: torch.device) -> dict[str, VQVAE]:
    """Those of vectors, by key; they are not trained."""
    vectors = [m for m in config.modalities if m.kind is FieldKind.VECTOR]
    files = {m.key: m.tokenizer for m in vectors if m.tokenizer is not None}
    return {key: load_vqvae(path).to(device).requires_grad_(False) for key, path in files.items()}


def _source(config: TrainingConfig, plan: Plan, data: tuple[FolderShards, ...], size: int) -> BatchSource:
    return BatchSource(plan, config.mixture, data, config.data.window, size, config.seed)


def _evaluation(
    config: TrainingConfig, plan: Plan, objective: Objective, say: Callable[[str], None]
) -> Evaluation | None:
    if config.evaluation is None:
        return None
    data = open_split(config.data, Split.VAL)
    if config.contrast is not None:
        objective = replace(objective, bank=read_bank(data, target_fields(config, config.contrast), say))
    return Evaluation(config.evaluation, _source(config, plan, data, config.batch.part), objective)


def _made_with(config: TrainingConfig, folder: RunFolder, data: tuple[FolderShards, ...]) -> dict[str, str]:
    """All that the result depends on: settings by their path, files by their bytes."""
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
    return described(settings)


def _summary(config: TrainingConfig, network: FourM, data: tuple[FolderShards, ...]) -> str:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    samples = sum(sum(folder.counts) for folder in data)
    return (
        f"{parameters / 1e6:.1f} M parameters, {samples:,} samples, "
        f"{config.steps:,} steps of {config.batch.size} samples and {config.tokens_per_step:,} tokens"
    )
