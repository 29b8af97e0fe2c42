"""The exact vectors that predictions are compared with, and the shortcuts fitted to them in one pass over the data.

Shortcuts are ridge regressions from own vectors to what samples should find. Only sums of products are kept, so memory
holds the bank and at most one shard of vectors."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anyseek.model.data.shards import ATTRIBUTES, Entry
from anyseek.model.fourm.bundled.shortcuts import Shortcuts
from anyseek.model.seam import FloatArray
from anyseek.model.training.pretraining.config import ContrastConfig
from anyseek.model.training.pretraining.masking import own_vectors
from anyseek.model.training.run.data_sets import FolderShards, Progress, entries_of
from anyseek.model.training.run.errors import TrainingDataInvalid

IntArray = npt.NDArray[np.int64]
HalfArray = npt.NDArray[np.float16]
_NOBODY = -1
_SUMMED = 4096  # rows that are made float32 at a time


@dataclass(frozen=True)
class Bank:
    """Vectors by target, unit float16 (n, d), zero for samples that lack them; n counts the samples of all folders.

    Samples of a source that share the attribute `concept` have the same of `groups` (n,), others one of their own.
    `vendors` (n,) numbers the attribute `vendor`, -1 for none. `members` has the samples of groups of several vendors.
    """

    vectors: Mapping[str, Tensor]
    groups: IntArray
    vendors: IntArray
    members: Mapping[int, IntArray]

    def __len__(self) -> int:
        return len(self.groups)

    def same_concept_rows(self, row: int) -> IntArray:
        """Rows of samples with the same concept as `row`, drawn by another vendor."""
        members = self.members.get(int(self.groups[row]), np.zeros(0, np.int64))
        others: IntArray = members[self.vendors[members] != self.vendors[row]]
        return others

    def mean(self, target: str) -> Tensor:
        """The mean of all vectors of a target: float32 (d,)."""
        rows = self.vectors[target]
        parts = [part.float().sum(dim=0) for part in torch.split(rows, _SUMMED)]
        total = torch.stack([torch.zeros(rows.shape[1]), *parts]).sum(dim=0)
        return total / max(int(rows.any(dim=1).sum()), 1)


def read_bank(
    folders: Sequence[FolderShards], fields: Mapping[str, Collection[str]], say: Callable[[str], None]
) -> Bank:
    """The bank of a split, in the order of its folders; `fields` has the shards' names of each target.

    Raises `TrainingDataInvalid` for a target that no sample has, or that has vectors of several lengths.
    """
    total = sum(folder.samples for folder in folders)
    wanted = {field for own in fields.values() for field in own} | {ATTRIBUTES.partition(".")[0]}
    found: dict[str, HalfArray] = {}
    groups, vendors = np.zeros(total, np.int64), np.full(total, _NOBODY, np.int64)
    numbers: dict[object, int] = {}
    progress = Progress("read the vectors", total, say)
    for row, (folder, entry) in enumerate(entries_of(folders, wanted)):
        names = {name.partition(".")[0]: name for name in entry.files}
        for target, own in fields.items():
            name = next((names[each] for each in own if each in names), None)
            if name is None:
                continue
            vector = own_vectors(name, entry)[0]
            if target not in found:
                found[target] = np.zeros((total, len(vector)), np.float16)
            if len(vector) != found[target].shape[1]:
                width = found[target].shape[1]
                raise TrainingDataInvalid(f"{target} of {entry.key} has {len(vector)} numbers, not {width}")
            found[target][row] = vector
        attributes = json.loads(entry.files[ATTRIBUTES]) if ATTRIBUTES in entry.files else {}
        concept, vendor = (str(attributes.get(name, "")) for name in ("concept", "vendor"))
        group = (folder.first, entry.key.partition("/")[0], concept) if concept else (row,)
        groups[row] = numbers.setdefault(group, len(numbers))
        vendors[row] = numbers.setdefault(vendor, len(numbers)) if vendor else _NOBODY
        progress.add(1)
    if missing := [target for target in fields if target not in found]:
        raise TrainingDataInvalid(f"no sample has {missing[0]}, which contrast needs; add it to the data set")
    vectors = {target: torch.from_numpy(found[target]) for target in fields}
    return Bank(vectors, groups, vendors, _members(groups, vendors))


def _members(groups: IntArray, vendors: IntArray) -> dict[int, IntArray]:
    """The samples of each group in which drawings of several vendors are."""
    named = np.flatnonzero(vendors != _NOBODY)
    order = named[np.argsort(groups[named], kind="stable")]
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []
    return {int(groups[part[0]]): part for part in parts if len(set(vendors[part].tolist())) > 1}


PENALTY = 0.1  # of the mean variance of an input's numbers
SAME = 0.99  # cosine from which an own vector is the exact vector itself, computed at another precision
_AT_ONCE = 1024  # samples whose products are summed at a time


class Scatter:
    """Weighted sums over pairs of an own vector x (p,) and a target vector y (q,), in float64."""

    def __init__(self, width_in: int, width_out: int) -> None:
        self.width, self.weight = width_in, 0.0
        self._x, self._y = torch.zeros(width_in, dtype=torch.float64), torch.zeros(width_out, dtype=torch.float64)
        self._xx = torch.zeros(width_in, width_in, dtype=torch.float64)
        self._xy = torch.zeros(width_in, width_out, dtype=torch.float64)
        self._pending: list[tuple[Tensor, Tensor, float]] = []  # vectors that were read and not added yet

    def add(self, rows: FloatArray, wanted: Tensor, weight: float) -> None:
        """Own vectors (k, p) of a sample, all with the same wanted vector (q,) and together with `weight`."""
        self._pending.append((torch.from_numpy(rows), wanted, weight / len(rows)))
        if len(self._pending) == _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        rows, wanted, portions = zip(*self._pending, strict=True)
        self._pending = []
        counts = torch.tensor([len(own) for own in rows])
        owner = torch.arange(len(rows)).repeat_interleave(counts)
        x, y = torch.cat(rows), torch.stack(wanted)
        weights = torch.tensor(portions, dtype=torch.float32)[owner]
        weighted = x * weights[:, None]
        summed = torch.zeros(len(y), x.shape[1]).index_add_(0, owner, weighted)
        shares = torch.zeros(len(y)).index_add_(0, owner, weights)
        self.weight += float(weights.sum())
        self._x += weighted.sum(dim=0)
        self._y += shares @ y
        self._xx += weighted.T @ x
        self._xy += summed.T @ y

    def ridge(self) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of x (p,), its centred scatter (p, p) and the regression's weights (p, q), all float64."""
        self._flush()
        mean, wanted = self._x / self.weight, self._y / self.weight
        scatter = self._xx - self.weight * torch.outer(mean, mean)
        penalty = PENALTY * scatter.diagonal().mean() * torch.eye(len(scatter), dtype=torch.float64)
        weights = torch.linalg.solve(scatter + penalty, self._xy - self.weight * torch.outer(mean, wanted))
        return mean, scatter, weights


class Fitter:
    """Takes samples in the order of the bank's rows; `fit` makes the shortcuts of all inputs.

    A sample counts as often as training draws it. What it should find is what training asks it for on average: its own
    vectors and, for `other_share`, those of other vendors' drawings of its concept; from the picture itself only these.
    """

    def __init__(self, config: ContrastConfig, bank: Bank) -> None:
        self._config, self._bank = config, bank
        self._scatters: dict[str, Scatter] = {}

    def add(self, row: int, entry: Entry, weight: float) -> None:
        """The sample of bank row `row`. Raises `TrainingDataInvalid`."""
        exact = [self._bank.vectors[target][row].float() for target in self._config.targets]
        if not all(vector.any() for vector in exact):
            return
        own, others = torch.cat(exact), self._bank.same_concept_rows(row)
        meant = self._mean(others) if len(others) else own
        names = {name.partition(".")[0]: name for name in entry.files}
        for key, arrays in self._config.own.items():
            found = [own_vectors(names[array], entry) for array in arrays if array in names]
            if found:
                vector = torch.from_numpy(found[0][0])
                is_exact = any(len(vector) == len(one) and float(vector @ one) > SAME for one in exact)
                share = 1.0 if is_exact else self._config.other_share
                scatter = self._scatter(key, found[0].shape[1], len(own), entry)
                scatter.add(np.concatenate(found), torch.lerp(own, meant, share), weight)

    def _mean(self, rows: np.ndarray) -> Tensor:
        return torch.cat([self._bank.vectors[target][rows].float().mean(dim=0) for target in self._config.targets])

    def _scatter(self, key: str, width: int, wanted: int, entry: Entry) -> Scatter:
        if key not in self._scatters:
            self._scatters[key] = Scatter(width, wanted)
        if self._scatters[key].width != width:
            raise TrainingDataInvalid(
                f"the own vector of {key} in {entry.key} has {width} numbers; those of other samples "
                "have another length"
            )
        return self._scatters[key]

    def fit(self, say: Callable[[str], None]) -> Shortcuts:
        """The shortcuts. Raises `TrainingDataInvalid` where no sample has an input's own vector."""
        if missing := [key for key in self._config.own if key not in self._scatters]:
            raise TrainingDataInvalid(f"no sample has the own vectors {self._config.own[missing[0]]} of {missing[0]}")
        targets = self._config.targets
        spaces = {target: self._bank.vectors[target].shape[1] for target in targets}
        ridges = {key: self._scatters.pop(key).ridge() for key in self._config.own}
        shortcuts = Shortcuts({key: len(mean) for key, (mean, _, _) in ridges.items()}, spaces, self._config.ranks)
        for key, (mean, scatter, weights) in ridges.items():
            for target, own_weights in zip(targets, torch.split(weights, list(spaces.values()), dim=1), strict=True):
                shortcut = shortcuts.shortcut(key, target)
                shortcut.fill(mean, *reduce_rank(scatter, own_weights, shortcut.down.shape[1]))
            say(f"fitted the shortcuts of {key}")
        return shortcuts


def reduce_rank(scatter: Tensor, weights: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Regression weights (p, q) as a product (p, rank) x (rank, q), by the directions in which outputs vary most."""
    _, axes = torch.linalg.eigh(weights.T @ scatter @ weights)
    kept = axes[:, -rank:]
    return weights @ kept, kept.T


def fit_shortcuts(
    config: ContrastConfig, bank: Bank, folders: Sequence[FolderShards], say: Callable[[str], None]
) -> Shortcuts:
    """Shortcuts fitted on all samples of the folders that `bank` is of."""
    fitter = Fitter(config, bank)
    arrays = {array for own in config.own.values() for array in own}
    progress = Progress("summed up the own vectors", len(bank), say)
    for row, (folder, entry) in enumerate(entries_of(folders, arrays)):
        weights = folder.source_weights
        own = weights.get(entry.key.partition("/")[0], 1.0) / max(weights.values())
        # how often training draws the sample, but for a factor that all share
        fitter.add(row, entry, own * folder.weight / folder.samples)
        progress.add(1)
    return fitter.fit(say)
