"""A training run from its config file to its finished weights: `anyseek train model CONFIG`."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from model.checkpoints import file_digest, load_vqvae, save_checkpoint
from model.data.samples import Split
from model.tokenizers.text import TextTokenizer
from model.tokenizers.vqvae import VQVAE
from model.training.pretraining.bank import read_bank
from model.training.pretraining.batches import BatchSource
from model.training.pretraining.beginning import begin, prepare_contrast, save_shortcuts, target_fields
from model.training.pretraining.config import FieldKind, TrainingConfig
from model.training.pretraining.data_sets import FolderShards, open_split, texts_of
from model.training.pretraining.errors import TrainingConfigInvalid
from model.training.pretraining.evaluation import Evaluation
from model.training.pretraining.folder import RunFolder, check_same_run, described
from model.training.pretraining.loop import Trainer
from model.training.pretraining.objective import Objective
from model.training.pretraining.plan import Plan, make_plan
from model.training.pretraining.read_config import read_config
from model.training.pretraining.state import TrainingState
from model.training.pretraining.stopping import stopped_by_signals
from model.training.pretraining.vocabulary import make_vocabulary, save_vocabulary
from model.transformer import FourM


def train_model(config_path: Path, out: Path, *, resume: bool, device: str | None, say: Callable[[str], None]) -> bool:
    """Train what a config says, with everything in the folder `out`; True if it ended, False if it was stopped.

    A run that was killed goes on with `resume` from its last checkpoint and ends as it would have. The finished network
    is `out`/model.safetensors: the averaged weights, as `load_fourm` reads them. `device` is torch's name of one; None
    is a GPU if there is one. Raises `TrainingError`, `DataError` and what reading weights raises.
    """
    config, folder = read_config(config_path), RunFolder(out)
    with folder.locked():
        checkpoint = folder.checkpoint(resume)
        trainer = prepare(config, folder, choose_device(device), say)
        if checkpoint is not None:
            check_same_run(checkpoint, trainer.made_with)
            trainer.state.load(checkpoint)
            say(f"going on from {checkpoint}")
        folder.config.write_bytes(config_path.read_bytes())
        with stopped_by_signals() as stop:
            ended = trainer.run(stop)
        if ended:
            with trainer.state.averages.applied(trainer.state.parameters):
                save_checkpoint(trainer.network, folder.model)
                if trainer.objective.contrast is not None:
                    save_shortcuts(trainer.objective.contrast.shortcuts, folder.shortcuts, {})
            say(f"made {folder.model}")
        return ended


def choose_device(name: str | None) -> torch.device:
    """The device of that name, by default the GPU if there is one. Raises `TrainingConfigInvalid`."""
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise TrainingConfigInvalid(f"there is no device {chosen!r} here: {str(error).splitlines()[0]}") from error
    return torch.device(chosen)


def prepare(config: TrainingConfig, folder: RunFolder, device: torch.device, say: Callable[[str], None]) -> Trainer:
    """A run before its first step."""
    data = open_split(config.data, Split.TRAIN)
    tokenizers = _tokenizers(config, device)
    text = open_vocabulary(config, folder, data)
    plan = make_plan(config, text, {key: tokenizer.config for key, tokenizer in tokenizers.items()})
    network = FourM(plan.network)
    begin(network, config, tokenizers, say)
    network.to(device)
    say(_summary(config, network, data))
    trained = nn.ModuleDict({"network": network})
    contrast = bank = None
    if config.contrast is not None:
        contrast, bank = prepare_contrast(config, config.contrast, data, tokenizers, folder, say)
        trained["contrast"] = contrast.to(device)
    objective = Objective.of(config, tokenizers, device, contrast, bank)
    return Trainer(
        config,
        network,
        TrainingState.fresh(trained, config.optimiser, config.average_decay),
        objective,
        _source(config, plan, data),
        _evaluation(config, plan, objective, say),
        folder,
        _made_with(config, folder, data),
        say,
    )


def _tokenizers(config: TrainingConfig, device: torch.device) -> dict[str, VQVAE]:
    """Those of vectors, by key; they are not trained."""
    files = {m.key: m.tokenizer for m in config.modalities if m.tokenizer is not None}
    return {key: load_vqvae(path).to(device).requires_grad_(False) for key, path in files.items()}


def open_vocabulary(config: TrainingConfig, folder: RunFolder, data: tuple[FolderShards, ...]) -> TextTokenizer | None:
    """The text tokenizer of a run, kept in its folder: a copy of the config's, or made of the training captions."""
    if config.text is None:
        return None
    if config.text.vocabulary is not None:
        TextTokenizer.from_file(config.text.vocabulary)  # refuses what is none
        shutil.copyfile(config.text.vocabulary, folder.vocabulary)
    else:
        texts = [m for m in config.modalities if m.kind is FieldKind.TEXT and m.format == "caption"]
        fields = [field for m in texts for field in m.fields]
        save_vocabulary(make_vocabulary(texts_of(data, fields), config.text.words), folder.vocabulary)
    return TextTokenizer.from_file(folder.vocabulary)


def _source(config: TrainingConfig, plan: Plan, data: tuple[FolderShards, ...]) -> BatchSource:
    return BatchSource(plan, config.mixture, data, config.data.window, config.batch.part, config.seed)


def _evaluation(
    config: TrainingConfig, plan: Plan, objective: Objective, say: Callable[[str], None]
) -> Evaluation | None:
    if config.evaluation is None:
        return None
    data = open_split(config.data, Split.VAL)
    if config.contrast is not None:
        objective = replace(objective, bank=read_bank(data, target_fields(config, config.contrast), say))
    return Evaluation(config.evaluation, _source(config, plan, data), objective)


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
    settings["start"] = file_digest(config.start) if config.start is not None else ""
    settings["shortcuts"] = file_digest(folder.fitted) if config.contrast is not None else ""
    return described(settings)


def _summary(config: TrainingConfig, network: FourM, data: tuple[FolderShards, ...]) -> str:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    samples = sum(sum(folder.counts) for folder in data)
    return (
        f"{parameters / 1e6:.1f} M parameters, {samples:,} samples, "
        f"{config.steps:,} steps of {config.batch.size} samples and {config.tokens_per_step:,} tokens"
    )
