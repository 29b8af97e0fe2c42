"""Fit shortcuts from input maps to predicted images: they add what the network's expected codes lack."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from model.fourm.bundled.dense_shortcuts import DenseShortcut, DenseShortcuts, fitted
from model.fourm.bundled.images import DenseTarget, map_row
from model.fourm.bundled.layout import DENSE, INPUTS
from model.network.config import FourMConfig
from model.network.tokens import ModalityInput
from model.network.transformer import FourM
from model.training.pretraining.batches import BatchMaker, BatchSource
from model.training.pretraining.collate import Batch

FITTED = 4000  # training samples of each data set at most
RANK, CHANNELS = 8, 128  # half the channels and few directions: more are worth little and would not fit into the bundle


@dataclass(frozen=True)
class Lacking:
    """Of m samples the first channels of maps (m, C, h, w), and by modality what expected codes lack (m, n)."""

    maps: Tensor
    codes: Mapping[str, Tensor]


@dataclass(frozen=True)
class Folder:
    """One folder of samples, `source` of which is of this folder alone."""

    source: BatchSource
    maker: BatchMaker

    def blocks(self) -> Iterator[range]:
        """The numbers of its first samples, as many as fit into memory at a time."""
        last = min(FITTED, self.source.folders[0].samples)
        return (range(first, min(first + self.source.size, last)) for first in range(0, last, self.source.size))


def fit_dense_shortcuts(
    network: FourM,
    dense: Mapping[str, DenseTarget],
    training: BatchSource,
    validation: BatchSource,
    say: Callable[[str], None],
) -> DenseShortcuts:
    """Fit the shortcuts that explain some of what the network lacks on validation, by predicted modality and input.

    Inputs of which no sample has a map, and all other predicted images, have no shortcuts.
    """
    shortcuts: dict[str, dict[str, DenseShortcut]] = {target: {} for target in dense}
    with _opened(training) as to_fit, _opened(validation) as to_judge:
        for name in _seen_inputs(network.config):
            others = {target: dense_target for target, dense_target in dense.items() if target != name}
            given, asked = (lacking(network, others, folders, name) for folders in (to_fit, to_judge))
            if given is None or asked is None:
                continue
            for target, parts in fitted(given.maps.flatten(1), given.codes, RANK).items():
                shortcut = _judged(DenseShortcut(*parts, explained=torch.zeros(())), asked, target)
                say(f"{target} from {name}: {float(shortcut.explained):.3f} of what the network lacks")
                if shortcut.explained > 0:
                    shortcuts[target][name] = shortcut
    return {target: by_input for target, by_input in shortcuts.items() if by_input}


@contextmanager
def _opened(source: BatchSource) -> Iterator[tuple[Folder, ...]]:
    """The folders of a source, whose shards are opened once for all inputs."""
    with ExitStack() as stack:
        sources = [replace(source, folders=(folder,)) for folder in source.folders]
        yield tuple(Folder(own, stack.enter_context(closing(BatchMaker(own)))) for own in sources)


def _seen_inputs(config: FourMConfig) -> Iterator[str]:
    return (name for name in INPUTS if map_row(config, name) is not None)


def _judged(shortcut: DenseShortcut, asked: Lacking, target: str) -> DenseShortcut:
    """The same that knows how much it explains."""
    before = asked.codes[target]
    after = before - shortcut(asked.maps)
    return replace(shortcut, explained=1 - after.square().sum() / before.square().sum())


@torch.inference_mode()
def lacking(network: FourM, dense: Mapping[str, DenseTarget], folders: Sequence[Folder], name: str) -> Lacking | None:
    """What the network lacks of samples that show the map of `name` alone; None where none has all of this.

    Up to `FITTED` samples of each folder.
    """
    key, targets = INPUTS[name].key, {DENSE[target]: target for target in dense}
    if not dense:
        return None
    maps: list[Tensor] = []
    codes: dict[str, list[Tensor]] = {target: [] for target in dense}
    for batch in _batches(folders, [key], list(targets)):
        maps.append(batch.inputs[key].values[:, :CHANNELS])
        for token_key, shares in _shares(network, batch, list(targets)).items():
            known = dense[targets[token_key]].decoder.codes
            wanted = F.embedding(batch.targets[token_key].ids.flatten(1), known)
            codes[targets[token_key]].append((wanted - shares @ known).flatten(1))
    if not maps:
        return None
    return Lacking(torch.cat(maps), {target: torch.cat(rows) for target, rows in codes.items()})


def _shares(network: FourM, batch: Batch, keys: Sequence[str]) -> dict[str, Tensor]:
    """By target how likely each code is at each place, float (B, n, K), to the digits that a fit needs."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        context = network.encode(batch.inputs)
        # one at a time: together each place would attend to those of all, most of them blocked
        return {key: network.decode_global(context, [key])[key].float().softmax(dim=-1) for key in keys}


def _batches(folders: Sequence[Folder], given: Sequence[str], targets: Sequence[str]) -> Iterator[Batch]:
    """Whole samples that have all of these, folder by folder; a folder whose first ones lack any is passed over."""
    for folder in folders:
        for numbers in folder.blocks():
            batch, found = folder.maker.whole_batch(numbers, given, targets)
            if not found and numbers.start == 0:
                break
            if found:
                yield replace(batch, inputs={key: _in_full(batch.inputs[key]) for key in given})


def _in_full(given: ModalityInput) -> ModalityInput:
    """Data sets have maps in float16."""
    return replace(given, values=given.values.float())
