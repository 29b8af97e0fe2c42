"""Compute what the frozen encoders make of a recipe's samples, once, and keep it.

    python -m anyseek.model.training.towers.features configs/towers/captions.yaml --out runs/towers/captions

A folder has one file per shard of the recipe's plan. Each file is written whole or not at all, so a killed run resumes
where it stopped. For n samples and m captions, a file holds:

- `MODALITY/pooled` and `MODALITY/peak` float16 (n, 1280): mean and maximum over the places of the encoder's map
- `MODALITY/logits` float16 (n, 1000)
- `MODALITY/places` float16 (n, 112, 4, 4): the map at stride 16, averaged in 4 x 4 parts
- `MODALITY/fine` float16 (n, 112, 14, 14): that map itself, with `--fine MODALITY`
- `caption/vectors` float16 (m, 384)
- `caption/owner` int64 (m,): the row of the sample that each caption belongs to

MODALITY is each modality that has a look. Rows of samples without the modality are zero.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.making import ShardPlan, Workshop, labelled_sample, make_plan, open_sources
from anyseek.model.data.recipe import read_recipe
from anyseek.model.data.registry import Labeller, Place
from anyseek.model.data.samples import DataSample, Split, shard_key
from anyseek.model.encoders.efficientnet import (
    CHANNELS,
    CLASSES,
    FINE_CHANNELS,
    FINE_GRID,
    PARTS,
    EfficientNetLite0,
    load_efficientnet,
    parts_of,
)
from anyseek.model.encoders.minilm import WIDTH, MiniLM, load_minilm
from anyseek.model.encoders.preprocess import drawing_pixels, encoder_input, looked_at
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.home import default_home
from anyseek.model.modalities.drawings import ByteArray

SAMPLES = "samples"  # of a file's metadata: a JSON list of what `Described` has
DRAWINGS = ("line_drawing", "canny_edge", "soft_edge")
_SEEN = ("rgb", *DRAWINGS, "depth", "normal", "semseg", "bounding_boxes", "color_palette")
_AT_ONCE, _TEXTS_AT_ONCE = 4, 64


@dataclass(frozen=True)
class Described:
    """The data kept of a sample besides its vectors: key in shards, attributes, captions' texts."""

    key: str
    attributes: Mapping[str, Any]
    captions: tuple[str, ...]


class Maker(Protocol):
    """Makes the arrays of a file."""

    def make(self, samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """The arrays of one file, of all its samples."""
        ...


class FeatureMaker:
    """Both encoders, loaded from below `home`; `fine` are the modalities whose maps at stride 16 are kept."""

    def __init__(self, home: Path, fine: Sequence[str]) -> None:
        """Raises `WeightsMissing`, `WeightsCorrupt`."""
        folder = check_encoders(home)
        self._eye: EfficientNetLite0 = load_efficientnet(folder / "efficientnet-lite0.safetensors")
        self._reader: MiniLM = load_minilm(folder / "minilm-l6.safetensors", folder / "minilm-l6.tokenizer.json")
        self._fine = frozenset(fine)

    @torch.inference_mode()
    def make(self, samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """The arrays of one file."""
        made: dict[str, Tensor] = {}
        for modality in _SEEN:
            places = [row for row, sample in enumerate(samples) if modality in sample.values]
            if places:
                made |= self._look(modality, places, samples)
        texts = [(row, one.text) for row, sample in enumerate(samples) for one in sample.values.get("caption", ())]
        if texts:
            made["caption/owner"] = torch.tensor([row for row, _ in texts])
            made["caption/vectors"] = self._read([text for _, text in texts])
        return made

    def _look(self, modality: str, places: Sequence[int], samples: Sequence[DataSample]) -> dict[str, Tensor]:
        shapes: dict[str, tuple[int, ...]] = {"pooled": (CHANNELS,), "peak": (CHANNELS,), "logits": (CLASSES,)}
        shapes["places"] = (FINE_CHANNELS, PARTS, PARTS)
        if modality in self._fine:
            shapes["fine"] = (FINE_CHANNELS, FINE_GRID, FINE_GRID)
        made = {name: torch.zeros(len(samples), *shape, dtype=torch.float16) for name, shape in shapes.items()}
        for start in range(0, len(places), _AT_ONCE):
            rows = list(places[start : start + _AT_ONCE])
            fine = self._eye.begin(encoder_input([seen(modality, samples[row].values[modality]) for row in rows]))
            kept = fine.half() if "fine" in made else None
            found = self._eye.finish(fine)
            made["places"][rows] = found.parts.half()
            made["pooled"][rows], made["logits"][rows] = found.pooled.half(), found.logits.half()
            made["peak"][rows] = found.grid.amax(dim=(2, 3)).half()
            if kept is not None:
                made["fine"][rows] = kept
        return {f"{modality}/{name}": array for name, array in made.items()}

    def _read(self, texts: Sequence[str]) -> Tensor:
        found = torch.zeros(len(texts), WIDTH, dtype=torch.float16)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # little padding
        for start in range(0, len(order), _TEXTS_AT_ONCE):
            rows = order[start : start + _TEXTS_AT_ONCE]
            found[rows] = self._reader([texts[row] for row in rows]).pooled.half()
        return found


def seen(modality: str, value: Any) -> ByteArray:
    """The encoder's input for a sample's value: uint8 (224, 224, 3). Of several palettes, the largest is used."""
    if modality in DRAWINGS:  # not all of them are modalities that a user can name
        return drawing_pixels(value)
    return looked_at(modality, value[-1] if modality == "color_palette" else value)


def read_files(folder: Path, split: Split) -> Iterator[tuple[list[Described], dict[str, Tensor]]]:
    """The samples and arrays of every file of a split, in order, without the maps at stride 16."""
    for path in sorted(folder.glob(f"{split}-*.safetensors")):
        with safe_open(path, "pt") as file:
            described = described_in(file)
            arrays = {name: file.get_tensor(name) for name in file.keys() if not name.endswith("/fine")}  # noqa: SIM118
            for name in [name for name in file.keys() if name.endswith("/fine")]:  # noqa: SIM118
                arrays.setdefault(name.replace("/fine", "/places"), parts_of(file.get_tensor(name).float()).half())
        yield described, arrays


def described_in(file: Any) -> list[Described]:
    """The samples of an opened file."""
    told = json.loads(file.metadata()[SAMPLES])
    return [Described(one["key"], one["attributes"], tuple(one["captions"])) for one in told]


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--fine", multiple=True, type=click.Choice(_SEEN), help="Keep its map at stride 16; may be repeated.")
def main(recipe: Path, out: Path, fine: tuple[str, ...]) -> None:
    """Compute what the frozen encoders make of a recipe's samples; go on if it was stopped."""
    make_files(recipe, out, FeatureMaker(default_home(), fine))


def make_files(recipe: Path, out: Path, maker: Maker) -> None:
    """Write the missing files of a recipe's plan into the folder `out`, with one thread."""
    torch.set_num_threads(1)
    read = read_recipe(recipe)
    place = Place(default_home(), read.image_size, read.splits)
    workshop = Workshop(read, place, open_sources(read, place))
    plan = make_plan(read, workshop.sources, place)
    out.mkdir(parents=True, exist_ok=True)
    labellers = workshop.labellers()
    small_first = sorted(plan.shards, key=lambda shard: shard.split is Split.TRAIN)  # a part of train serves, too
    for number, shard in enumerate(small_first):
        path = out / shard.name.replace(".tar", ".safetensors")
        if not path.is_file():
            write_file(path, shard, workshop, labellers, maker)
        click.echo(f"{path.name}: {number + 1} of {len(plan.shards)} files")


def write_file(path: Path, shard: ShardPlan, workshop: Workshop, labellers: Sequence[Labeller], maker: Maker) -> None:
    """The features of one shard's samples; those that cannot be made are left out and said."""
    samples, described = [], []
    for job in shard.jobs:
        try:
            sample = labelled_sample(workshop, labellers, job)
        except SampleInvalid as error:
            click.echo(f"left out {job.key} of {workshop.sources[job.source].name}: {error}")
            continue
        samples.append(sample)
        captions = [one.text for one in sample.values.get("caption", ())]
        key = shard_key(workshop.sources[job.source].name, job.key)
        described.append({"key": key, "attributes": dict(sample.attributes), "captions": captions})
    beside = path.with_name(f".{path.name}.partial")
    save_file(maker.make(samples), beside, {SAMPLES: json.dumps(described)})
    beside.replace(path)


if __name__ == "__main__":
    main()
