"""The start of a run: the network's first weights, and what contrast compares and adds.

The weights may come from another network, as far as they fit. A tensor fits if its name and shape are the same. Tables
of a text vocabulary are copied row by row if the two vocabularies differ, each row going to the same token.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anyseek.model.checkpoints.files import read_metadata, weights_digest
from anyseek.model.checkpoints.quantized import dequantize
from anyseek.model.errors import WeightsMissing
from anyseek.model.files import atomic_file
from anyseek.model.fourm.bundled.bundle import MANIFEST, NETWORK, SHORTCUTS, VOCABULARY, WEIGHTS
from anyseek.model.fourm.bundled.layout import INPUTS
from anyseek.model.fourm.bundled.shortcuts import Shortcuts, load_shortcuts
from anyseek.model.fourm.published.names import OWNER, PUBLISHED, Role
from anyseek.model.fourm.published.store import MODEL_FILE, folder_of, installed, vocabulary_file
from anyseek.model.home import default_home
from anyseek.model.network.config import EmbeddingKind, FourMConfig
from anyseek.model.network.modality_embeddings import ImageTokenDecoderEmbedding
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.pretraining.config import ContrastConfig, TrainingConfig
from anyseek.model.training.pretraining.objective import Contrast
from anyseek.model.training.pretraining.shortcuts import Bank, fit_shortcuts, read_bank
from anyseek.model.training.run.data_sets import FolderShards
from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.run.folder import RunFolder, flatten_settings
from anyseek.model.training.run.state import Frozen

Rows = tuple[Tensor, Tensor]  # int64 (n,) each: rows of a table of ours, and the rows of theirs for the same tokens
# Names of tensors that a network may share; a file then has one of each pair.
_TWINS = (
    ("encoder_embeddings.{}.mod_emb", "decoder_embeddings.{}.mod_emb"),
    ("decoder_embeddings.{}.token_emb.weight", "decoder_embeddings.{}.to_logits.weight"),
)
# Tensors with a row for each token of the text vocabulary.
TEXT_TABLES = (
    "encoder_embeddings.{}.token_emb.weight",
    "decoder_embeddings.{}.token_emb.weight",
    "decoder_embeddings.{}.to_logits.weight",
)


@dataclass(frozen=True)
class StartFiles:
    """The files of a network to begin with.

    `vocabulary` and `shortcuts` are None where none are known; `by_modality` says that the shortcuts' inputs are
    called by modality, as in bundles, and not by key.
    """

    network: Path
    vocabulary: Path | None = None
    shortcuts: Path | None = None
    by_modality: bool = False

    @property
    def all(self) -> dict[str, Path]:
        """The files that are known, by name."""
        named = {"network": self.network, "vocabulary": self.vocabulary, "shortcuts": self.shortcuts}
        return {name: path for name, path in named.items() if path is not None}

    def load_shortcuts(self) -> Shortcuts | None:
        """The shortcuts, their inputs called by key. Raises as `model.fourm.bundled.shortcuts.load_shortcuts`."""
        if self.shortcuts is None:
            return None
        found = load_shortcuts(self.shortcuts)
        return found.renamed({modality: row.key for modality, row in INPUTS.items()}) if self.by_modality else found


def start_files(source: str, home: Path) -> StartFiles:
    """The files that `start.from` means: a file, the folder of a run or of bundled weights, or a model's name.

    Published models are those pulled or imported below `home`. Raises `TrainingConfigInvalid`, `WeightsMissing`,
    `WeightsCorrupt`.
    """
    path, name = Path(source), source.removeprefix(f"{OWNER}/")
    if path.is_file():
        return StartFiles(path, _if_exists(path.with_name(VOCABULARY)))
    folder = path if path.is_dir() else WEIGHTS / source
    if path.is_dir() or (folder / MANIFEST).is_file():
        bundled = (folder / MANIFEST).is_file()
        network = folder / NETWORK if bundled else RunFolder(folder).model
        if not network.is_file():
            raise WeightsMissing(f"there is no {network.name} in {folder}; a finished run or bundled weights have one")
        return StartFiles(network, _if_exists(folder / VOCABULARY), _if_exists(folder / SHORTCUTS), bundled)
    if name in PUBLISHED and PUBLISHED[name].role is not Role.TOKENIZER:
        installed(name, home)
        return StartFiles(folder_of(name, home) / MODEL_FILE, _if_exists(vocabulary_file(home)))
    raise TrainingConfigInvalid(
        f"start: {source!r} is not a file, not a folder of a run or of bundled weights, and not a model that "
        "`anyseek models list` names as a network"
    )


def _if_exists(path: Path) -> Path | None:
    return path if path.is_file() else None


@dataclass(frozen=True)
class CopyReport:
    """The outcome of copying: a network's parameters and a file's tensors, by name, with the numbers in each.

    `copied` are complete; `partly` had some rows copied, and the rest is new; `left_over` are tensors of the file.
    """

    copied: Mapping[str, int]
    partly: Mapping[str, int]
    new: Mapping[str, int]
    left_over: Mapping[str, int]

    def table(self, source: str) -> str:
        """A short table for people, with the embeddings and blocks that tensors belong to."""
        lines = [f"the network begins with {source}:"]
        for what, tensors in (
            ("copied", self.copied),
            ("copied in part, by token", self.partly),
            ("new", self.new),
            ("left over in the file", self.left_over),
        ):
            parts = Counter(".".join(name.split(".")[:2]) for name in tensors)
            names = "" if what == "copied" else "  " + ", ".join(f"{part} ({n})" for part, n in parts.items())
            if tensors:
                lines.append(f"  {what:<25}{len(tensors):>5} tensors {sum(tensors.values()):>14,} numbers{names}")
        return "\n".join(lines)


@torch.no_grad()
def copy_tensors(network: FourM, files: StartFiles, text: TextTokenizer | None) -> CopyReport:
    """Copy what fits of a network's file into a network; `text` is the vocabulary of its texts.

    Raises `TrainingConfigInvalid` where nothing fits, `WeightsMissing`, `WeightsCorrupt`.
    """
    read_metadata(files.network)
    tensors = dequantize(load_file(files.network))
    stored = _with_tied_names(tensors, network.config)
    rows = _same_tokens(files.vocabulary, text)
    tables = {table.format(key) for key in text_keys(network.config) for table in TEXT_TABLES}
    found = dict[int, bool]()  # by parameter whether it was copied whole
    used = set[int]()  # a tensor may be there under two names
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if found.get(id(parameter)) or name not in stored:
            continue
        whole = _copy_tensor(parameter, stored[name], rows if name in tables else None)
        if whole is not None:
            found[id(parameter)] = whole
            used.add(id(stored[name]))
    unused = {name: tensor for name, tensor in tensors.items() if id(tensor) not in used}
    computed = {name for name in unused if name in dict(network.named_buffers()) or name.endswith(".pos_emb")}
    copied, partly, new = (
        {name: p.numel() for name, p in network.named_parameters() if found.get(id(p)) is whole}
        for whole in (True, False, None)
    )
    if not copied and not partly:
        raise TrainingConfigInvalid(
            f"start: no tensor of {files.network} matches one of this network by name and shape, whose width is "
            f"{network.config.dim}; give `network` the sizes of the network to begin with"
        )
    left_over = {name: tensor.numel() for name, tensor in unused.items() if name not in computed}
    return CopyReport(copied, partly, new, left_over)


def _copy_tensor(parameter: nn.Parameter, stored: Tensor, rows: Rows | None) -> bool | None:
    """Copy a tensor, or the given rows of it; whether that filled the parameter, None if the shapes differ."""
    if rows is None:
        if stored.shape != parameter.shape:
            return None
        parameter.copy_(stored)
        return True
    ours, theirs = rows
    there = (ours < len(parameter)) & (theirs < len(stored))
    if stored.shape[1:] != parameter.shape[1:] or not there.any():
        return None
    parameter[ours[there]] = stored[theirs[there]].to(parameter.dtype)
    return int(there.sum()) == len(parameter)


def _with_tied_names(tensors: Mapping[str, Tensor], config: FourMConfig) -> dict[str, Tensor]:
    """Tensors of a file, and those that it has under the name of their twin only."""
    stored = dict(tensors)
    for key in dict.fromkeys((*config.domains_in, *config.domains_out)):
        for twin, other in ((a.format(key), b.format(key)) for a, b in _TWINS):
            for missing, there in ((twin, other), (other, twin)):
                if missing not in stored and there in stored:
                    stored[missing] = stored[there]
    return stored


def text_keys(config: FourMConfig) -> list[str]:
    """The modalities of a network that are ids of the text vocabulary."""
    keys = dict.fromkeys((*config.domains_in, *config.domains_out))
    return [key for key in keys if config.row(key).kind is EmbeddingKind.SEQUENCE]


def _same_tokens(theirs: Path | None, ours: TextTokenizer | None) -> Rows | None:
    """Which rows stand for the same tokens; None where the vocabularies are the same or one is not known."""
    if theirs is None or ours is None:
        return None
    known, wanted = TextTokenizer.from_file(theirs).vocabulary, ours.vocabulary
    if known == wanted:
        return None
    pairs = [(number, known[token]) for token, number in wanted.items() if token in known]
    table = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


_LOGIT_DEVIATION = 0.1


@dataclass(frozen=True)
class WarmStart:
    """What a run takes over from another network: the names of the parameters it filled, and its shortcuts.

    If the run takes over nothing, they are empty and None.
    """

    copied: frozenset[str] = frozenset()
    shortcuts: Shortcuts | None = None

    def frozen(self, config: TrainingConfig, parameters: Collection[str]) -> Frozen:
        """The run's `parameters` that are frozen at first. Raises `TrainingConfigInvalid` if all are."""
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
) -> WarmStart:
    """Fill a network for the first step with whatever fits of the network that `config.start` names.

    Raises `TrainingConfigInvalid`, `WeightsMissing`, `WeightsCorrupt`.
    """
    network.initialise(config.seed)
    for key in config.contrast.targets if config.contrast is not None else ():
        start_logits_at_codes(network, key, tokenizers[key])
    if config.start is None:
        return WarmStart()
    files = start_files(config.start.source, default_home())
    taken = copy_tensors(network, files, text)
    say(taken.table(config.start.source))
    if config.contrast is None:
        return WarmStart(frozenset(taken.copied))
    shortcuts = files.load_shortcuts()
    spaces = {key: tokenizers[key].config.n_channels for key in config.contrast.targets}
    fits = shortcuts is not None and shortcuts.spaces == spaces
    return WarmStart(frozenset(taken.copied), shortcuts if fits else None)


def start_digests(config: TrainingConfig) -> dict[str, str] | str:
    """Digests of the files that a run starts from; empty if it starts from none."""
    if config.start is None:
        return ""
    files = start_files(config.start.source, default_home())
    digests = {name: weights_digest(path) for name, path in files.all.items()}
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
    made_with = flatten_settings(
        {
            "contrast": {"own": contrast.own, "ranks": contrast.ranks, "other_share": contrast.other_share},
            "targets": contrast.targets,
            "data": [[shards.digest, shards.weight, dict(shards.source_weights)] for shards in data],
            "known": start_digests(config) if known is not None else "",
        }
    )
    made_of = {"made_of": str(sorted(made_with.items()))}
    if not folder.fitted.is_file() or read_metadata(folder.fitted) != made_of:
        new = {key: own for key, own in contrast.own.items() if known is None or key not in known.inputs}
        if known is None or new:
            fitted = fit_shortcuts(contrast.model_copy(update={"own": new}), bank, data, say)
            known = fitted if known is None else fitted.merge(known)
        save_shortcuts(known, folder.fitted, made_of)
    means = {key: bank.mean(key) for key in contrast.targets}
    return Contrast(contrast, load_shortcuts(folder.fitted), tokenizers, means, config.seed), bank


def target_fields(config: TrainingConfig, contrast: ContrastConfig) -> dict[str, tuple[str, ...]]:
    """The shards' names of each target of contrast."""
    return {m.key: m.fields for m in config.modalities if m.key in contrast.targets}


def save_shortcuts(shortcuts: Shortcuts, path: Path, metadata: Mapping[str, str]) -> None:
    """Write what `load_shortcuts` reads; the file appears whole or not at all."""
    tensors = {name: tensor.contiguous() for name, tensor in shortcuts.state_dict().items()}
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, dict(metadata))
