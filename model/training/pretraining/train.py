"""A training run from its config file to its finished weights: `anyseek train model CONFIG`."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.checkpoints import file_digest, load_vqvae, save_checkpoint
from model.data.samples import Split
from model.tokenizers.text import TextTokenizer
from model.tokenizers.vqvae import VQVAE
from model.training.pretraining.bank import read_bank
from model.training.pretraining.batches import BatchSource
from model.training.pretraining.beginning import (
    begin,
    prepare_contrast,
    save_shortcuts,
    start_digests,
    target_fields,
)
from model.training.pretraining.config import FieldKind, Sharding, TextConfig, TrainingConfig
from model.training.pretraining.data_sets import FolderShards, open_split, texts_of
from model.training.pretraining.errors import TrainingConfigInvalid
from model.training.pretraining.evaluation import Evaluation
from model.training.pretraining.folder import RunFolder, check_same_run, described
from model.training.pretraining.loop import Trainer
from model.training.pretraining.objective import Objective
from model.training.pretraining.plan import Plan, make_plan
from model.training.pretraining.processes import ALONE, Processes, check_divisible, joined_processes, local_number
from model.training.pretraining.read_config import read_config
from model.training.pretraining.recomputing import recompute_blocks
from model.training.pretraining.sharding import Sharded, shard, whole_network
from model.training.pretraining.state import TrainingState
from model.training.pretraining.stopping import stopped_by_signals
from model.training.pretraining.vocabulary import make_vocabulary, save_vocabulary
from model.transformer import FourM


def train_model(config_path: Path, out: Path, *, resume: bool, device: str | None, say: Callable[[str], None]) -> bool:
    """Train what a config says, with everything in the folder `out`; True if it ended, False if it was stopped.

    A run that was killed goes on with `resume` from its last checkpoint and ends as it would have. The finished network
    is `out`/model.safetensors: the averaged weights, as `load_fourm` reads them. `device` is torch's name of one; None
    is a GPU if there is one. Started by torchrun or `launching`, it is one of several processes that train together;
    the first alone says anything. Raises `TrainingError`, `DataError` and what reading weights raises.
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


def carry_out(trainer: Trainer[Any, Any], checkpoint: Path | None, config_path: Path) -> bool:
    """Go on from a checkpoint, or begin; True if it got to the end. Raises `RunConflict` for one of another run."""
    if checkpoint is not None:
        check_same_run(checkpoint, trainer.made_with)
        trainer.state.load(checkpoint)
        trainer.say(f"going on from {checkpoint}")
    if trainer.processes.is_first:
        trainer.folder.config.write_bytes(config_path.read_bytes())
    with stopped_by_signals() as stop:
        return trainer.run(stop)


def choose_device(name: str | None, local: int | None = None) -> torch.device:
    """The device of that name, by default the GPU if there is one; of several processes on a machine the `local`-th.

    Raises `TrainingConfigInvalid`.
    """
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if chosen == "cuda" and local is not None:
        chosen = f"cuda:{local}"
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise TrainingConfigInvalid(f"there is no device {chosen!r} here: {str(error).splitlines()[0]}") from error
    return torch.device(chosen)


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


def open_vocabulary(
    config: TrainingConfig, folder: RunFolder, data: tuple[FolderShards, ...], processes: Processes
) -> TextTokenizer | None:
    """The text tokenizer of a run, kept in its folder: a copy of the config's, or made of the training captions."""
    if config.text is None:
        return None
    with processes.first_alone():
        if processes.is_first:
            _write_vocabulary(config, config.text, folder, data)
    return TextTokenizer.from_file(folder.vocabulary)


def _write_vocabulary(
    config: TrainingConfig, text: TextConfig, folder: RunFolder, data: tuple[FolderShards, ...]
) -> None:
    if text.vocabulary is not None:
        TextTokenizer.from_file(text.vocabulary)  # refuses what is none
        shutil.copyfile(text.vocabulary, folder.vocabulary)
    else:
        texts = [m for m in config.modalities if m.kind is FieldKind.TEXT and m.format == "caption"]
        fields = [field for m in texts for field in m.fields]
        save_vocabulary(make_vocabulary(texts_of(data, fields), text.words), folder.vocabulary)


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
    settings = asdict(config)
    for name in ("run", "evaluation", "text", "data"):
        del settings[name]
    settings["modalities"] = {one.pop("key"): one for one in settings["modalities"]}
    for modality in config.modalities:
        if modality.tokenizer is not None:
            settings["modalities"][modality.key]["tokenizer"] = file_digest(modality.tokenizer)
    settings["data"] = {
        "folders": [[folder.digest, folder.weight, folder.source_weights] for folder in data],
        "window": config.data.window,
    }
    settings["vocabulary"] = file_digest(folder.vocabulary) if config.text is not None else ""
    settings["start"] = start_digests(config)
    settings["shortcuts"] = file_digest(folder.fitted) if config.contrast is not None else ""
    return described(settings)


def _summary(config: TrainingConfig, network: FourM, data: tuple[FolderShards, ...]) -> str:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    samples = sum(sum(folder.counts) for folder in data)
    return (
        f"{parameters / 1e6:.1f} M parameters, {samples:,} samples, "
        f"{config.steps:,} steps of {config.batch.size} samples and {config.tokens_per_step:,} tokens"
    )
