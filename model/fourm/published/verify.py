"""Verify an installed checkpoint: check every checksum and every tensor, and run the network once."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from anyseek.model.checkpoints.files import load_fourm, load_tokenizer
from anyseek.model.errors import CheckpointMismatch, ModelError, WeightsCorrupt
from anyseek.model.fourm.published.installing import Say
from anyseek.model.fourm.published.names import VOCABULARY, Role, published
from anyseek.model.fourm.published.store import MODEL_FILE, VOCABULARY_FILE, Record, describe, folder_of, installed
from anyseek.model.network.config import EmbeddingKind, ModalityConfig
from anyseek.model.network.tokens import ModalityInput, ModalityTarget
from anyseek.model.network.transformer import Context, FourM
from anyseek.model.tokenizers.build import Tokenizer
from anyseek.model.tokenizers.diffusion import Sampling, Scheduler
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.tokenizers.vqvae import VQVAE

_TOKENS = 8  # of each modality in the trial pass
_GRID = 4  # tokens a side of a trial image: 64 pixels at the published patch, a multiple of the diffusion's 32
_TRIAL = Sampling(Scheduler.DDIM, steps=2)


def verify_published(name: str, home: Path, say: Say) -> list[str]:
    """Check the checkpoint `name`, its tokenizers and the vocabulary; returns the problems found.

    `say` gets a line for each part without problems. Raises `UnknownModel`.
    """
    complaints = []
    for needed in _with_needs(name):
        try:
            record = _check_files(needed, home)
            _try(needed, home)
        except ModelError as error:
            complaints.append(str(error))
        else:
            say(f"{needed}  right  {record.size / 1e6:.1f} MB  fingerprint {record.fingerprint}")
    return complaints


def changed_checkpoints(name: str, home: Path) -> list[str]:
    """What is wrong with the files of the checkpoint `name`, of its tokenizers and of the vocabulary.

    Every byte is read and nothing run. Raises `UnknownModel`.
    """
    complaints = []
    for needed in _with_needs(name):
        try:
            _check_files(needed, home)
        except ModelError as error:
            complaints.append(str(error))
    return complaints


def _with_needs(name: str) -> list[str]:
    if name == VOCABULARY:
        return [name]
    row = published(name)
    return [row.name, *row.needs, *([VOCABULARY] if row.needs else [])]


def _check_files(name: str, home: Path) -> Record:
    record = installed(name, home)
    for file, was in record.files.items():
        found = describe(folder_of(name, home) / file).sha256
        if found != was.sha256:
            raise WeightsCorrupt(
                f"{folder_of(name, home) / file} has sha256 {found}, not {was.sha256} as when it was installed; "
                f"remove {folder_of(name, home)} and pull or import {name} again"
            )
    return record


def _try(name: str, home: Path) -> None:
    """Load it and run it once. Raises `CheckpointMismatch` for numbers that are not finite."""
    if name == VOCABULARY:
        TextTokenizer.from_file(folder_of(name, home) / VOCABULARY_FILE)
        return
    path = folder_of(name, home) / MODEL_FILE
    tokenizer = published(name).role is Role.TOKENIZER
    with torch.inference_mode():
        if tokenizer:
            _check(name, _run_tokenizer(load_tokenizer(path)))
        else:
            try_network(name, load_fourm(path))


_Trials = Mapping[str, tuple[Tensor, tuple[int, ...]]]


@torch.inference_mode()
def try_network(name: str, network: FourM) -> None:
    """Run a network once, from all of its inputs to all of its outputs. Raises `CheckpointMismatch`."""
    _check(name, _run_network(network))


def _check(name: str, found: _Trials) -> None:
    for what, (tensor, shape) in found.items():
        if tuple(tensor.shape) != shape or not tensor.isfinite().all():
            raise CheckpointMismatch(
                f"a trial pass of {name} gives {what} {tuple(tensor.shape)} instead of finite numbers of shape {shape}"
            )


def _run_network(network: FourM) -> _Trials:
    """The logits of every output modality at its first tokens, from all inputs together, and their right shapes."""
    config, generator = network.config, torch.Generator().manual_seed(0)
    inputs = {key: _as_taken(network, _trial_input(config.row(key), generator)) for key in config.domains_in}
    context = network.encode(inputs)
    found = {}
    for key in config.domains_out:
        row = config.row(key)
        decode = _decode_sequence if row.kind is EmbeddingKind.SEQUENCE else _decode_image
        found[f"logits of {key}"] = (decode(network, context, key), (1, _TOKENS, row.vocabulary))
    return found


def _as_taken(network: FourM, given: ModalityInput) -> ModalityInput:
    """The same on the network's device, and numbers in its dtype; ids stay whole."""
    weight = network.mask_token
    dtype = weight.dtype if given.values.is_floating_point() else given.values.dtype
    return ModalityInput(given.values.to(weight.device, dtype), given.mask.to(weight.device))


def _trial_input(row: ModalityConfig, generator: torch.Generator) -> ModalityInput:
    """Random content of a modality of which the first tokens are used."""
    rows, columns = row.grid or (1, min(row.max_length, 2 * _TOKENS))
    mask = torch.arange(rows * columns)[None] >= _TOKENS
    if row.kind is EmbeddingKind.PIXELS:
        patch = row.patch or 1
        return ModalityInput(torch.randn(1, row.channels, rows * patch, columns * patch, generator=generator), mask)
    if row.kind is EmbeddingKind.SEQUENCE_EMBEDDING:
        return ModalityInput(torch.randn(1, rows * columns, row.width, generator=generator), mask)
    return ModalityInput(torch.randint(row.vocabulary, mask.shape, generator=generator), mask)


def _decode_image(network: FourM, context: Context, key: str) -> Tensor:
    return network.decode_image_tokens_at(context, key, torch.arange(_TOKENS, device=network.mask_token.device)[None])


def _decode_sequence(network: FourM, context: Context, key: str) -> Tensor:
    ids = torch.arange(_TOKENS + 1, device=network.mask_token.device)[None]
    tokens = network.embed_targets({key: ModalityTarget(ids, torch.zeros_like(ids, dtype=torch.bool))})
    return network.logits(key, network.run_decoder(tokens.content + tokens.embedding, context, tokens.self_blocked))


def _run_tokenizer(tokenizer: Tokenizer) -> _Trials:
    """The trial value after coding and decoding, and its right shape."""
    config, generator = tokenizer.config, torch.Generator().manual_seed(0)
    if isinstance(tokenizer, VQVAE):
        vector = torch.randn(1, config.n_channels, generator=generator)
        return {"a vector": (tokenizer.decode_tokens(tokenizer.encode(vector)), (1, config.n_channels))}
    side = _GRID * tokenizer.patch
    if config.n_labels is None:
        image = torch.randn(1, config.n_channels, side, side, generator=generator).clamp(-1, 1)
    else:
        image = torch.randint(config.n_labels, (1, side, side), generator=generator)
    tokens = tokenizer.encode(image)
    if isinstance(tokenizer, ImageVQVAE):
        side = _GRID * (config.decoder_patch if config.patch_proj else 1)
        return {"an image": (tokenizer.decode_tokens(tokens), (1, config.n_labels or config.n_channels, side, side))}
    decoded = tokenizer.decode_tokens(tokens, partial(torch.randn, generator=generator), _TRIAL)
    return {"an image": (decoded, (1, config.n_channels, side, side))}
