"""The exact vectors of all samples of a split, with which contrast compares predictions."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anyseek.model.data.shards import ATTRIBUTES, Entry
from anyseek.model.seam import FloatArray
from anyseek.model.training.pretraining.fields import own_vectors
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

    def others(self, row: int) -> IntArray:
        """The samples that show the same concept as `row` in another vendor's drawing."""
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
        for target, vector in _vectors(entry, fields).items():
            _put(found, target, vector, row, total, entry.key)
        concept, vendor = _concept(entry)
        group = (folder.first, entry.key.partition("/")[0], concept) if concept else (row,)
        groups[row] = numbers.setdefault(group, len(numbers))
        vendors[row] = numbers.setdefault(vendor, len(numbers)) if vendor else _NOBODY
        progress.add(1)
    if missing := [target for target in fields if target not in found]:
        raise TrainingDataInvalid(f"no sample has {missing[0]}, which contrast needs; add it to the data set")
    vectors = {target: torch.from_numpy(found[target]) for target in fields}
    return Bank(vectors, groups, vendors, _members(groups, vendors))


def _put(found: dict[str, HalfArray], target: str, vector: FloatArray, row: int, total: int, key: str) -> None:
    """Write a vector into its row of a target's array, which is made for the first one."""
    if target not in found:
        found[target] = np.zeros((total, len(vector)), np.float16)
    width = found[target].shape[1]
    if width != len(vector):
        raise TrainingDataInvalid(f"{target} of {key} has {len(vector)} numbers, not {width}")
    found[target][row] = vector


def _vectors(entry: Entry, fields: Mapping[str, Collection[str]]) -> dict[str, FloatArray]:
    """The unchanged view of each target that a sample has."""
    names = {name.partition(".")[0]: name for name in entry.files}
    present = {target: [names[field] for field in own if field in names] for target, own in fields.items()}
    return {target: own_vectors(found[0], entry)[0] for target, found in present.items() if found}


def _concept(entry: Entry) -> tuple[str, str]:
    """The attributes `concept` and `vendor` of a sample, empty where it has none."""
    attributes = json.loads(entry.files[ATTRIBUTES]) if ATTRIBUTES in entry.files else {}
    return str(attributes.get("concept", "")), str(attributes.get("vendor", ""))


def _members(groups: IntArray, vendors: IntArray) -> dict[int, IntArray]:
    """The samples of each group in which drawings of several vendors are."""
    named = np.flatnonzero(vendors != _NOBODY)
    order = named[np.argsort(groups[named], kind="stable")]
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []
    return {int(groups[part[0]]): part for part in parts if len(set(vendors[part].tolist())) > 1}
