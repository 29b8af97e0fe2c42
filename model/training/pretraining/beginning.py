"""What a run begins with: the network's first weights, and what contrast compares and adds."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from model.checkpoints import read_metadata
from model.modality_embeddings import ImageTokenDecoderEmbedding
from model.quantized import dequantized
from model.shortcuts import Shortcuts, load_shortcuts
from model.tokenizers.vqvae import VQVAE
from model.training.pretraining.bank import Bank, read_bank
from model.training.pretraining.config import ContrastConfig, TrainingConfig
from model.training.pretraining.contrast import Contrast
from model.training.pretraining.data_sets import FolderShards
from model.training.pretraining.fit_shortcuts import fit_shortcuts
from model.training.pretraining.folder import RunFolder, described
from model.transformer import FourM

_LOGIT_DEVIATION = 0.1


def begin(network: FourM, config: TrainingConfig, tokenizers: Mapping[str, VQVAE], say: Callable[[str], None]) -> None:
    """Fill a network for the first step, with the tensors of `config.start` that fit where it is given."""
    network.initialise(config.seed)
    for key in config.contrast.targets if config.contrast is not None else ():
        start_logits_at_codes(network, key, tokenizers[key])
    if config.start is not None:
        taken = take_tensors(network, config.start)
        say(f"{taken} of {sum(1 for _ in network.parameters())} tensors begin as they are in {config.start}")


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


@torch.no_grad()
def take_tensors(network: FourM, path: Path) -> int:
    """Copy the tensors of a network's file that have the name and shape of a parameter; how many these were.

    Raises `WeightsMissing`, `WeightsCorrupt`.
    """
    read_metadata(path)
    stored, taken = dequantized(load_file(path)), set[int]()
    for name, parameter in network.named_parameters(remove_duplicate=False):  # a shared one is stored under one name
        if name in stored and stored[name].shape == parameter.shape:
            parameter.copy_(stored[name])
            taken.add(id(parameter))
    return len(taken)


def prepare_contrast(
    config: TrainingConfig,
    contrast: ContrastConfig,
    data: Sequence[FolderShards],
    tokenizers: Mapping[str, VQVAE],
    folder: RunFolder,
    say: Callable[[str], None],
) -> tuple[Contrast, Bank]:
    """Contrast and the bank of the training samples; the fitted shortcuts are kept in the run's folder."""
    bank = read_bank(data, target_fields(config, contrast), say)
    made_with = described(
        {
            "contrast": {"own": contrast.own, "rank": contrast.rank, "other_share": contrast.other_share},
            "targets": contrast.targets,
            "data": [[one.digest, one.weight, dict(one.source_weights)] for one in data],
        }
    )
    made_of = {"made_of": str(sorted(made_with.items()))}
    if not folder.fitted.is_file() or read_metadata(folder.fitted) != made_of:
        save_shortcuts(fit_shortcuts(contrast, bank, data, say), folder.fitted, made_of)
    means = {key: bank.mean(key) for key in contrast.targets}
    return Contrast(contrast, load_shortcuts(folder.fitted), tokenizers, means, config.seed), bank


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
