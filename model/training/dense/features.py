"""Compute the image encoder's maps of a recipe's samples, and the images that a dense decoder should make of them.

    python -m anyseek.model.training.dense.features configs/dense/rooms.yaml --out runs/dense/rooms

A folder has one file per shard of the recipe's plan. Each file is written whole or not at all, so a killed run resumes
where it stopped. Every sample is cut to its central square. Every picture is seen as it is and mirrored. Beside it,
one other modality of each sample is seen, drawn at random, mirrored or not; with `--every` all of them are, and
nothing is mirrored, which validation needs. For n samples and k things seen, a file holds:

- `level0`, `level1`, `level2` float16 (k, C, side, side): the maps of `anyseek.model.encoders.efficientnet.LEVELS`
- `sample` int64 (k,): the row of the sample; `input` int64 (k,): the number of the modality in `SEEN`; `mirrored` bool
- `depth` float32 (n, 56, 56) in metres, NaN where not known; `normal` uint8 (n, 56, 56, 3), 0 where not known;
  `semseg` uint8 (n, 56, 56), labels of the bundled weights, 0 where not known

Images are sampled at the centres of their 56 x 56 places.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from torch import Tensor

from anyseek.model.data.samples import DataSample
from anyseek.model.encoders.efficientnet import EfficientNetLite0, load_efficientnet
from anyseek.model.encoders.preprocess import encoder_input, looked_at
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.fourm.bundled.dense_decoder import SEEN, SIDE, TARGETS, mirrored
from anyseek.model.fourm.images import central_squares
from anyseek.model.home import default_home
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import Regions
from anyseek.model.training.dense.labels import bundled_labels
from anyseek.model.training.towers.features import make_files

PLACES = SIDE // 2  # a side of the images that the decoder learns
_AT_ONCE = 4
_EMPTY: Mapping[str, np.ndarray[Any, Any]] = {
    "depth": np.full((PLACES, PLACES), np.nan, np.float32),
    "normal": np.zeros((PLACES, PLACES, 3), np.uint8),
    "semseg": np.zeros((PLACES, PLACES), np.uint8),
}


class Look(NamedTuple):
    """One thing that the encoder sees: a modality of a sample."""

    sample: int
    modality: str
    mirrored: bool


class DenseMaker:
    """Sees samples through the encoder; `labels` are the numbers of regions' names, `every` as the command says."""

    def __init__(self, encoder: EfficientNetLite0, labels: Mapping[str, int], every: bool = False) -> None:
        self._encoder, self._labels, self._every = encoder, labels, every

    @torch.inference_mode()
    def make(self, samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """See `Maker.make`."""
        cut = [central_squares({name: sample.values[name] for name in _of_use(sample)}) for sample in samples]
        looks = [look for row, values in enumerate(cut) for look in self._looks(row, values, samples[row].key)]
        levels = []
        for start in range(0, len(looks), _AT_ONCE):
            some = looks[start : start + _AT_ONCE]
            pixels = [seen_pixels(cut[look.sample][look.modality], look) for look in some]
            levels.append([level.half() for level in self._encoder.levels(encoder_input(pixels))])
        made = {
            f"level{number}": torch.cat(parts).contiguous() for number, parts in enumerate(zip(*levels, strict=True))
        }
        made["sample"] = torch.tensor([look.sample for look in looks])
        made["input"] = torch.tensor([SEEN.index(look.modality) for look in looks])
        made["mirrored"] = torch.tensor([look.mirrored for look in looks])
        for name in TARGETS:
            made[name] = torch.from_numpy(np.stack([self._target(name, values) for values in cut]))
        return made

    def _looks(self, row: int, values: Mapping[str, Any], key: str) -> list[Look]:
        if self._every:
            return [Look(row, name, mirrored=False) for name in SEEN if name in values]
        others = [name for name in SEEN[1:] if name in values]
        looks = [Look(row, SEEN[0], mirrored=False), Look(row, SEEN[0], mirrored=True)]
        if others:
            random = np.random.default_rng(list(key.encode()))
            looks.append(Look(row, str(random.choice(others)), mirrored=bool(random.integers(2))))
        return looks

    def _target(self, name: str, values: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        if name not in values:
            return _EMPTY[name]
        value = values[name]
        if isinstance(value, Regions):
            ids, places = np.unique(sampled(value.ids), return_inverse=True)
            known = [self._labels.get(value.classes.get(int(number), ""), 0) for number in ids]
            return np.array(known, np.uint8)[places.reshape(PLACES, PLACES)]
        return sampled(value).astype(_EMPTY[name].dtype)


def seen_pixels(value: Any, look: Look) -> ByteArray:
    """The encoder's input for a value: uint8 (224, 224, 3)."""
    pixels = looked_at(look.modality, value)
    return mirrored(look.modality, pixels) if look.mirrored else pixels


def sampled(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A square image (H, H, ...) at the centres of 56 x 56 places."""
    places = ((np.arange(PLACES) + 0.5) * len(image) / PLACES).astype(np.int64)
    return image[np.ix_(places, places)]


def _of_use(sample: DataSample) -> list[str]:
    return [name for name in SEEN if name in sample.values]


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--every", is_flag=True, help="See every modality of a sample, and mirror nothing.")
def main(recipe: Path, out: Path, every: bool) -> None:
    """Compute maps and images of a recipe's samples; go on if it was stopped."""
    encoder = load_efficientnet(check_encoders(default_home()) / "efficientnet-lite0.safetensors")
    make_files(recipe, out, DenseMaker(encoder, bundled_labels(), every))


if __name__ == "__main__":
    main()
