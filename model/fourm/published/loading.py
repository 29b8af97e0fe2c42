"""Load a published 4M network with its tokenizers and its vocabulary."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from anyseek.model.checkpoints.files import load_fourm, load_tokenizer, read_config
from anyseek.model.compute.devices import CPU
from anyseek.model.compute.placement import torch_device
from anyseek.model.errors import UnknownModel, WeightsMissing
from anyseek.model.fourm.codecs import FeatureTokenCodec, VectorTokenCodec
from anyseek.model.fourm.inputs import FourMParts
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published.modalities import inputs_of, targets_of
from anyseek.model.fourm.published.names import (
    SUPER_RESOLUTION,
    VOCABULARY,
    EmbedderOptions,
    Precision,
    Role,
    parse_name,
    published,
)
from anyseek.model.fourm.published.store import MODEL_FILE, State, folder_of, installed, state_of, vocabulary_file
from anyseek.model.fourm.spaces import Embedding, GlobalSpace
from anyseek.model.lazy import Lazy
from anyseek.model.network.config import ConfigInvalid, FourMConfig
from anyseek.model.network.packing import pack
from anyseek.model.seam import EmbeddingSpace
from anyseek.model.tokenizers.build import Tokenizer
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.tokenizers.vqvae import VQVAE

_VERSION = "1"  # of preprocessing and decoding, part of the fingerprint: raise it whenever a vector changes
_WINDOW = 64  # samples whose inputs are made together

_SPACES = ("dinov2_global", "imagebind_global", "clip")
# The authors of 4M-21 retrieve in the DINOv2 space, whatever the query; a map or vector is best compared with its like.
_PREFERRED = "dinov2_global"
_OWN_SPACES = {"clip": "clip", "imagebind": "imagebind_global", "imagebind_global": "imagebind_global"}


def load_published(name: str, home: Path, device: str = CPU) -> FourMModel:
    """The published network `name`, with its options, as installed below `home`, packed for prediction.

    All of it is on `device`, one that `anyseek.model.compute.devices` offers. Tokenizers, always float32, and the
    vocabulary are loaded on first use. What it embeds with, such as `spaces`, raises `WeightsMissing` without the
    vocabulary or any tokenizer of a space. Raises `BadDevice`, `UnknownModel`, also for the name of a tokenizer,
    `WeightsMissing`, `WeightsCorrupt`, `ConfigInvalid`, `CheckpointMismatch`.
    """
    network_name, options = parse_name(name)
    tokenizers = InstalledTokenizers(home, torch_device(device))
    dtype = getattr(torch, options.dtype)
    # The network for super-resolution goes from tokens at 224 pixels to tokens at 448.
    load_upscaler = Lazy(lambda: _load_parts(SUPER_RESOLUTION, SUPER_RESOLUTION, dtype, tokenizers, None))
    parts = _load_parts(network_name, name, dtype, tokenizers, load_upscaler)
    needed = {modality: getattr(form.codec, "tokenizer", None) for modality, form in parts.inputs.items()}
    modalities = frozenset(
        name for name, tokenizer in needed.items() if tokenizer is None or _is_installed(tokenizer, home)
    )
    return FourMModel(parts, modalities, lambda: _embedding(network_name, parts, tokenizers, options))


def installed_config(name: str, home: Path) -> FourMConfig:
    """The config of an installed network, from its header. Raises as `load_published` does, without its weights."""
    row = published(name)
    if row.role is Role.TOKENIZER:
        raise UnknownModel(f"{row.name} is a tokenizer, not a network")
    installed(row.name, home)
    return FourMConfig.from_values(read_config(folder_of(row.name, home) / MODEL_FILE))


class InstalledTokenizers:
    """The tokenizers and the vocabulary below `home`, loaded as they are asked for; safe for several threads.

    Tokenizers and their networks are on `device`.
    """

    def __init__(self, home: Path, device: torch.device = torch.device(CPU)) -> None:  # noqa: B008  it has no state
        self.home, self.device = home, device
        self._lock = threading.Lock()
        self._loaded: dict[str, Tokenizer] = {}
        self._text: TextTokenizer | None = None

    @property
    def text(self) -> TextTokenizer:
        """The vocabulary of all sequences. Raises `WeightsMissing`, `WeightsCorrupt`."""
        with self._lock:
            if self._text is None:
                installed(VOCABULARY, self.home)
                self._text = TextTokenizer.from_file(vocabulary_file(self.home))
            return self._text

    def tokenizer(self, name: str) -> Tokenizer:
        """The published tokenizer `name`. Raises as `load_published` does."""
        row = published(name)
        if row.role is not Role.TOKENIZER:
            raise UnknownModel(f"{row.name} is a network, not a tokenizer")
        with self._lock:
            if row.name not in self._loaded:
                installed(row.name, self.home)
                tokenizer = load_tokenizer(folder_of(row.name, self.home) / MODEL_FILE)
                # The loading thread may be in inference mode while the next user is not.
                self._loaded[row.name] = tokenizer.requires_grad_(False).to(self.device)
            return self._loaded[row.name]


def fingerprint_with(network: str, tokenizers: Sequence[str], home: Path) -> str:
    """sha256 (64 hex digits) over a network and these tokenizers, in any order. Raises `WeightsMissing`."""
    parts = sorted(installed(published(name).name, home).fingerprint for name in tokenizers)
    return hashlib.sha256(" ".join([installed(network, home).fingerprint, *parts]).encode()).hexdigest()


def _load_parts(
    network: str,
    name: str,
    dtype: torch.dtype,
    tokenizers: InstalledTokenizers,
    load_upscaler: Callable[[], FourMParts] | None,
) -> FourMParts:
    config = installed_config(network, tokenizers.home)
    loaded = load_fourm(folder_of(network, tokenizers.home) / MODEL_FILE, dtype)
    loaded.to(tokenizers.device)
    pack(loaded, ())
    return FourMParts(
        name, loaded, inputs_of(config), targets_of(config), tokenizers, load_upscaler=load_upscaler, packed=True
    )


def _embedding(network: str, parts: FourMParts, tokenizers: InstalledTokenizers, options: EmbedderOptions) -> Embedding:
    """Raises `WeightsMissing`, and `ConfigInvalid` where a tokenizer is of another class than its name says."""
    home, targets = tokenizers.home, dict[str, tuple[str, str]]()
    forms = targets_of(parts.network.config)
    for name in _SPACES:
        if name in forms and isinstance(codec := forms[name].codec, VectorTokenCodec | FeatureTokenCodec):
            targets[name] = forms[name].key, codec.tokenizer
    vocabulary = installed(VOCABULARY, home).fingerprint
    # In float32 vectors agree with a CPU's; bfloat16 differs even between a batch and a lone sample (docs/speed.md).
    on_cpu = tokenizers.device.type == CPU or options.dtype is Precision.FLOAT32
    of_device = () if on_cpu else (f"on {tokenizers.device.type}",)
    spaces = {}
    for space, (key, tokenizer) in targets.items():
        if _is_installed(tokenizer, home):
            covered = fingerprint_with(network, [tokenizer], home)
            fingerprint = _digest(_VERSION, covered, vocabulary, *options.fingerprint_parts(), *of_device)
            spaces[space] = _space(space, fingerprint, key, tokenizers.tokenizer(tokenizer), parts)
    if not spaces:
        needed = ", ".join(tokenizer for _, tokenizer in targets.values())
        raise WeightsMissing(
            f"{network} needs at least one of these tokenizers to embed; run `anyseek models pull NAME`: {needed}"
        )
    preferred = {name: _OWN_SPACES.get(name, _PREFERRED) for name in parts.inputs}
    return Embedding(
        _digest(*(space.space.fingerprint for space in spaces.values())),
        spaces,
        {name: own if own in spaces else next(iter(spaces)) for name, own in preferred.items()},
        _WINDOW,
        decoding=options.decoding,
        token_budget=options.token_budget,
    )


def _space(name: str, fingerprint: str, key: str, tokenizer: Tokenizer, parts: FourMParts) -> GlobalSpace:
    grid = parts.network.config.row(key).grid
    if grid is None or not isinstance(tokenizer, VQVAE | ImageVQVAE):
        raise ConfigInvalid(f"the tokenizer of {key} decodes no vectors or maps, as the space {name} needs")
    parts.prepare_head(key)
    dimension = tokenizer.config.n_channels
    about = EmbeddingSpace(name, dimension, fingerprint, np.zeros(dimension, np.float32))
    return GlobalSpace(about, key, grid, tokenizer)


def _is_installed(name: str, home: Path) -> bool:
    return state_of(name, home) is State.INSTALLED


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
