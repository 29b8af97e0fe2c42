"""What a dense decoder is fitted to: folders of maps and images (`model.training.dense.features`), mapped from disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from anyseek.model.data.samples import Split
from anyseek.model.encoders.efficientnet import LEVELS
from anyseek.model.fourm.bundled.dense_decoder import TARGETS

LEVEL_NAMES = tuple(f"level{number}" for number in range(len(LEVELS)))


@dataclass(frozen=True)
class Batch:
    """B things seen, and what they show: see `anyseek.model.training.dense.features`. Mirrored where the thing is."""

    levels: tuple[Tensor, ...]
    inputs: Tensor
    depth: Tensor
    normal: Tensor
    semseg: Tensor


class Material:
    """The things seen of a split, in the order of the folders and their files."""

    def __init__(self, folders: Sequence[Path], split: Split) -> None:
        """Raises `FileNotFoundError` for a folder without a file of that split."""
        self._files: list[dict[str, Tensor]] = []
        self.folder: list[int] = []
        for number, folder in enumerate(folders):
            found = sorted(folder.glob(f"{split}-*.safetensors"))
            if not found:
                raise FileNotFoundError(f"{folder} has no features of the split {split}")
            for path in found:
                self._files.append(load_file(path))
                self.folder += [number] * len(self._files[-1]["sample"])
        lengths = [len(file["sample"]) for file in self._files]
        self._file = np.repeat(np.arange(len(lengths)), lengths)
        self._row = np.concatenate([np.arange(length) for length in lengths])

    def __len__(self) -> int:
        return len(self._file)

    @property
    def inputs(self) -> Tensor:
        """The number of the modality of each thing seen, int64 (things,)."""
        return torch.cat([file["input"] for file in self._files])

    def label_counts(self, labels: int) -> Tensor:
        """The pixels of each label in all samples, float64 (labels,)."""
        counts = [torch.bincount(file["semseg"].flatten().long(), minlength=labels) for file in self._files]
        return torch.stack(counts).sum(dim=0).double()

    def batch(self, places: Sequence[int]) -> Batch:
        """The things at these places."""
        rows = [(self._files[self._file[place]], int(self._row[place])) for place in places]
        levels = tuple(torch.stack([file[name][row] for file, row in rows]).float() for name in LEVEL_NAMES)
        inputs = torch.stack([file["input"][row] for file, row in rows])
        depth, normal, semseg = (torch.stack([_shown(name, file, row) for file, row in rows]) for name in TARGETS)
        return Batch(levels, inputs, depth, normal, semseg)

    def batches(self, size: int) -> Iterator[Batch]:
        """All things in order."""
        for start in range(0, len(self), size):
            yield self.batch(range(start, min(start + size, len(self))))


def _shown(name: str, file: dict[str, Tensor], row: int) -> Tensor:
    """What a thing shows: depth and labels (56, 56), normals float32 (3, 56, 56) of unit length, 0 where not known."""
    image = file[name][int(file["sample"][row])]
    mirrored = bool(file["mirrored"][row])
    if mirrored:
        image = image.flip(1)
    if name != "normal":
        return image
    known = (image > 0).any(dim=2, keepdim=True)
    vectors = torch.where(known, image.float() / 127.5 - 1, 0.0)
    if mirrored:
        vectors[..., 0] *= -1
    return torch.nn.functional.normalize(vectors, dim=2).movedim(2, 0)
