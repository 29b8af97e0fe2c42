"""Beginning with another network: which files it is, and what of it fits.

A tensor fits where name and shape are the same. Tables of a text vocabulary are taken row by row where the two
vocabularies differ, each token's row to the same token's.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from model.bundle import MANIFEST, NETWORK, SHORTCUTS, VOCABULARY, WEIGHTS
from model.checkpoints import read_metadata
from model.config import EmbeddingKind, FourMConfig
from model.embedder import WeightsMissing
from model.published.names import OWNER, PUBLISHED, Role
from model.published.store import MODEL_FILE, folder_of, installed, vocabulary_file
from model.quantized import dequantized
from model.shortcuts import Shortcuts, load_shortcuts
from model.tiny import INPUTS
from model.tokenizers.text import TextTokenizer
from model.training.pretraining.errors import TrainingConfigInvalid
from model.training.pretraining.folder import RunFolder
from model.transformer import FourM

Rows = tuple[Tensor, Tensor]  # int64 (n,) each: rows of a table of ours, and the rows of theirs for the same tokens
# Names of tensors that a network may share; a file then has one of each pair.
_TWINS = (
    ("encoder_embeddings.{}.mod_emb", "decoder_embeddings.{}.mod_emb"),
    ("decoder_embeddings.{}.token_emb.weight", "decoder_embeddings.{}.to_logits.weight"),
)
_TEXT_TABLES = (
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
        """Those that there are, by name."""
        named = {"network": self.network, "vocabulary": self.vocabulary, "shortcuts": self.shortcuts}
        return {name: path for name, path in named.items() if path is not None}

    def load_shortcuts(self) -> Shortcuts | None:
        """The shortcuts, their inputs called by key. Raises as `model.shortcuts.load_shortcuts`."""
        if self.shortcuts is None:
            return None
        found = load_shortcuts(self.shortcuts)
        return found.renamed({modality: one.key for modality, one in INPUTS.items()}) if self.by_modality else found


def start_files(source: str, home: Path) -> StartFiles:
    """The files that `start.from` means: a file, the folder of a run or of bundled weights, or a model's name.

    Published models are those pulled or imported below `home`. Raises `TrainingConfigInvalid`, `WeightsMissing`,
    `WeightsCorrupt`.
    """
    path, name = Path(source), source.removeprefix(f"{OWNER}/")
    if path.is_file():
        return StartFiles(path, _if_there(path.with_name(VOCABULARY)))
    if path.is_dir():
        return _of_folder(path)
    if (WEIGHTS / source / MANIFEST).is_file():
        return _of_folder(WEIGHTS / source)
    if name in PUBLISHED and PUBLISHED[name].role is not Role.TOKENIZER:
        installed(name, home)
        return StartFiles(folder_of(name, home) / MODEL_FILE, _if_there(vocabulary_file(home)))
    raise TrainingConfigInvalid(
        f"start: {source!r} is no file, no folder of a run or of bundled weights, and no model that "
        "`anyseek models list` names as a network"
    )


def _of_folder(folder: Path) -> StartFiles:
    run, bundled = RunFolder(folder), (folder / MANIFEST).is_file()
    network = folder / NETWORK if bundled else run.model
    if not network.is_file():
        raise WeightsMissing(f"there is no {network.name} in {folder}; a finished run or bundled weights have one")
    return StartFiles(network, _if_there(folder / VOCABULARY), _if_there(folder / SHORTCUTS), bundled)


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


@dataclass(frozen=True)
class Taken:
    """What became of a network's parameters and of a file's tensors; numbers in each by name.

    `copied` are whole; of `partly` some rows were taken, and the rest is new; `left_over` are tensors of the file.
    """

    copied: Mapping[str, int]
    partly: Mapping[str, int]
    new: Mapping[str, int]
    left_over: Mapping[str, int]

    def table(self, source: str) -> str:
        """A short table for people."""
        rows = (
            ("copied", self.copied, False),
            ("copied in part, by token", self.partly, True),
            ("new", self.new, True),
            ("left over in the file", self.left_over, True),
        )
        lines = [_line(what, tensors, named) for what, tensors, named in rows if tensors]
        return "\n".join((f"the network begins with {source}:", *lines))


def _line(what: str, tensors: Mapping[str, int], named: bool) -> str:
    line = f"  {what:<25}{len(tensors):>5} tensors {sum(tensors.values()):>14,} numbers"
    return f"{line}  {', '.join(_parts(tensors))}" if named else line


def _parts(names: Iterable[str]) -> list[str]:
    """The embeddings and blocks that tensors belong to, with how many of each."""
    parts = Counter(".".join(name.split(".")[:2]) if "." in name else name for name in names)
    return [f"{part} ({count})" for part, count in parts.items()]


@torch.no_grad()
def take_tensors(network: FourM, files: StartFiles, text: TextTokenizer | None) -> Taken:
    """Copy what fits of a network's file into a network; `text` is the vocabulary of its texts.

    Raises `TrainingConfigInvalid` where nothing fits, `WeightsMissing`, `WeightsCorrupt`.
    """
    read_metadata(files.network)
    tensors = dequantized(load_file(files.network))
    stored = _with_twins(tensors, network.config)
    rows, tables = _same_tokens(files.vocabulary, text), _text_tables(network.config)
    found = dict[int, bool]()  # by parameter whether it was copied whole
    used = set[int]()  # a tensor may be there under two names
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if found.get(id(parameter)) or name not in stored:
            continue
        whole = _take(parameter, stored[name], rows if name in tables else None)
        if whole is not None:
            found[id(parameter)] = whole
            used.add(id(stored[name]))
    taken = _sorted_out(network, found, {name: one for name, one in tensors.items() if id(one) not in used})
    if not taken.copied and not taken.partly:
        raise TrainingConfigInvalid(
            f"start: no tensor of {files.network} has the name and shape of one of this network, whose width is "
            f"{network.config.dim}; give `network` the sizes of the network to begin with"
        )
    return taken


def _take(parameter: nn.Parameter, stored: Tensor, rows: Rows | None) -> bool | None:
    """Copy a tensor, or those of its rows; whether that filled the parameter, None where it does not fit."""
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


def _sorted_out(network: FourM, found: Mapping[int, bool], unused: Mapping[str, Tensor]) -> Taken:
    def those(whole: bool | None) -> dict[str, int]:
        return {name: one.numel() for name, one in network.named_parameters() if found.get(id(one)) is whole}

    tables = dict(network.named_buffers())
    computed = {name for name in unused if name in tables or name.endswith(".pos_emb")}
    left_over = {name: one.numel() for name, one in unused.items() if name not in computed}
    return Taken(those(True), those(False), those(None), left_over)


def _with_twins(tensors: Mapping[str, Tensor], config: FourMConfig) -> dict[str, Tensor]:
    """Tensors of a file, and those that it has under the name of their twin only."""
    stored = dict(tensors)
    for key in dict.fromkeys((*config.domains_in, *config.domains_out)):
        for one, other in ((a.format(key), b.format(key)) for a, b in _TWINS):
            for missing, there in ((one, other), (other, one)):
                if missing not in stored and there in stored:
                    stored[missing] = stored[there]
    return stored


def _text_tables(config: FourMConfig) -> set[str]:
    """The names of tensors with a row for each token of the text vocabulary."""
    keys = dict.fromkeys((*config.domains_in, *config.domains_out))
    texts = [key for key in keys if config.row(key).kind is EmbeddingKind.SEQUENCE]
    return {table.format(key) for key in texts for table in _TEXT_TABLES}


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
