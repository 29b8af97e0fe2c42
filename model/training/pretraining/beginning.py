"""What a run begins with: the network's first weights, and what contrast compares and adds."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import nn

from model.checkpoints import file_digest, read_metadata
from model.home import default_home
from model.modality_embeddings import ImageTokenDecoderEmbedding
from model.shortcuts import Shortcuts, load_shortcuts
from model.tokenizers.text import TextTokenizer
from model.tokenizers.vqvae import VQVAE
from model.training.pretraining.bank import Bank, read_bank
from model.training.pretraining.config import ContrastConfig, TrainingConfig
from model.training.pretraining.contrast import Contrast
from model.training.pretraining.data_sets import FolderShards
from model.training.pretraining.errors import TrainingConfigInvalid
from model.training.pretraining.fit_shortcuts import fit_shortcuts
from model.training.pretraining.folder import RunFolder, described
from model.training.pretraining.freezing import Frozen
from model.training.pretraining.start import start_files, take_tensors
from model.transformer import FourM

_LOGIT_DEVIATION = 0.1


@dataclass(frozen=True)
class Beginning:
    """What a run begins with of another network: names of parameters that it filled, and its shortcuts.

    Both are empty, and None, where the run begins with none.
    """

    copied: frozenset[str] = frozenset()
    shortcuts: Shortcuts | None = None

    def frozen(self, config: TrainingConfig, parameters: Collection[str]) -> Frozen:
        """Those of the run's `parameters` that stay as they are at first. Raises `TrainingConfigInvalid` if all do."""
        kept = {f"network.{name}" for name in self.copied}
        if self.shortcuts is not None:
            kept |= {f"contrast.shortcuts.{name}" for name, _ in self.shortcuts.named_parameters()}
        if config.frozen_steps and kept >= set(parameters):
            raise TrainingConfigInvalid(
                "start.frozen_tokens leaves nothing to train: the network to begin with has it all"
            )
        return Frozen(frozenset(kept & set(parameters)), config.frozen_steps)


def begin(
    network: FourM,
    config: TrainingConfig,
    text: TextTokenizer | None,
    tokenizers: Mapping[str, VQVAE],
    say: Callable[[str], None],
) -> Beginning:
    """Fill a network for the first step, with what fits of the network that `config.start` names.

    Raises `TrainingConfigInvalid`, `WeightsMissing`, `WeightsCorrupt`.
    """
    network.initialise(config.seed)
    for key in config.contrast.targets if config.contrast is not None else ():
        start_logits_at_codes(network, key, tokenizers[key])
    if config.start is None:
        return Beginning()
    files = start_files(config.start.source, default_home())
    taken = take_tensors(network, files, text)
    say(taken.table(config.start.source))
    if config.contrast is None:
        return Beginning(frozenset(taken.copied))
    shortcuts = files.load_shortcuts()
    spaces = {key: tokenizers[key].config.n_channels for key in config.contrast.targets}
    fits = shortcuts is not None and shortcuts.spaces == spaces
    return Beginning(frozenset(taken.copied), shortcuts if fits else None)


def start_digests(config: TrainingConfig) -> dict[str, str] | str:
    """What stands for the files that a run begins with; nothing where it begins with none."""
    if config.start is None:
        return ""
    files = start_files(config.start.source, default_home())
    digests = {name: file_digest(path) for name, path in files.all.items()}
    return {**digests, "frozen_tokens": str(config.start.frozen_tokens)}


@torch.no_grad()
def start_logits_at_codes(network: FourM, key: str, tokenizer: VQVAE) -> None:
    """Start the logits of a target as products with the codes themselves.

    The codebooks share one table of logits. Its row k becomes the k-th code of every codebook, one after the other,
    turned at random into the network's width; a decoder output that holds a latent in its codebook's place then gives
    near codes high logits from the first step. Small random rows take hundreds of steps to learn anything.
    """
    rows = tokenizer.quantize.codes.transpose(0, 1).flatten(1).cpu()  # (codes, latent width)
    embedding = cast(ImageTokenDecoderEmbedding, network.decoder_embeddings[key])
    table = embedding.token_emb.weight
    if rows.shape[1] != table.shape[1]:
        turn = torch.empty(rows.shape[1], table.shape[1])
        rows = rows @ nn.init.orthogonal_(turn, generator=torch.Generator().manual_seed(0))
    table.copy_(_LOGIT_DEVIATION * rows / rows.std())


def prepare_contrast(
    config: TrainingConfig,
    contrast: ContrastConfig,
    data: Sequence[FolderShards],
    tokenizers: Mapping[str, VQVAE],
    known: Shortcuts | None,
    folder: RunFolder,
    say: Callable[[str], None],
) -> tuple[Contrast, Bank]:
    """Contrast and the bank of the training samples; the fitted shortcuts are kept in the run's folder.

    Shortcuts that are `known` already are taken as they are; only those of other inputs are fitted.
    """
    bank = read_bank(data, target_fields(config, contrast), say)
    made_with = described(
        {
            "contrast": {"own": contrast.own, "ranks": contrast.ranks, "other_share": contrast.other_share},
            "targets": contrast.targets,
            "data": [[one.digest, one.weight, dict(one.source_weights)] for one in data],
            "known": start_digests(config) if known is not None else "",
        }
    )
    made_of = {"made_of": str(sorted(made_with.items()))}
    if not folder.fitted.is_file() or read_metadata(folder.fitted) != made_of:
        save_shortcuts(_all_shortcuts(contrast, bank, data, known, say), folder.fitted, made_of)
    means = {key: bank.mean(key) for key in contrast.targets}
    return Contrast(contrast, load_shortcuts(folder.fitted), tokenizers, means, config.seed), bank


def _all_shortcuts(
    contrast: ContrastConfig,
    bank: Bank,
    data: Sequence[FolderShards],
    known: Shortcuts | None,
    say: Callable[[str], None],
) -> Shortcuts:
    if known is None:
        return fit_shortcuts(contrast, bank, data, say)
    new = {key: own for key, own in contrast.own.items() if key not in known.inputs}
    return fit_shortcuts(replace(contrast, own=new), bank, data, say).joined(known) if new else known


def target_fields(config: TrainingConfig, contrast: ContrastConfig) -> dict[str, tuple[str, ...]]:
    """The shards' names of each target of contrast."""
    return {m.key: m.fields for m in config.modalities if m.key in contrast.targets}


def save_shortcuts(shortcuts: Shortcuts, path: Path, metadata: Mapping[str, str]) -> None:
    """Write what `load_shortcuts` reads; the file appears whole or not at all."""
    beside = path.with_name(f".{path.name}.partial")
    save_file({name: tensor.contiguous() for name, tensor in shortcuts.state_dict().items()}, beside, dict(metadata))
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    beside.replace(path)
