"""Fit the towers' space to features, optionally leaving some sources out.

    python -m anyseek.model.training.towers.fit runs/towers/captions runs/towers/maps runs/towers/sketches --to
    runs/towers/all anyseek eval --suite transfer --data PACKS --model $PWD/runs/towers/all/bundle

The folder `bundle` in it has the bundled network with these towers. `--left-out SOURCE` (repeatable) trains as if the
source did not exist, `--open` on open data alone. A second call resumes from the last checkpoint.
"""

from collections.abc import Mapping
from pathlib import Path

import click
import torch

from anyseek.model.encoders.efficientnet import class_sentences
from anyseek.model.encoders.minilm import load_minilm
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.fourm.bundled.bundle import WEIGHTS as BUNDLES
from anyseek.model.fourm.bundled.bundle import load_bundle
from anyseek.model.fourm.bundled.layout import SEMANTIC
from anyseek.model.home import default_home
from anyseek.model.towers.space import (
    CAPTION,
    CLASSES_FILE,
    FILE,
    LEARNED,
    PHOTO,
    WORDS,
    Shape,
    Towers,
    Weights,
    save_classes,
    save_towers,
)
from anyseek.model.training.towers.bases import balanced, fit_bases, kinds
from anyseek.model.training.towers.bundling import write_bundle
from anyseek.model.training.towers.contrast import Schedule, train_towers
from anyseek.model.training.towers.material import Captions, Choice, Material, read_material

# Chosen on sources that were left out (docs/transfer.md).
WEIGHTS: Mapping[str, Weights] = {
    "rgb": Weights(whole=1.0, places=1.0, learned=1.5),
    "caption": Weights(words=1.0, learned=1.2),
    "canny_edge": Weights(whole=1.0, places=0.75),
    "depth": Weights(whole=1.0, places=2.0),
    "normal": Weights(whole=1.0, places=2.0),
    "semseg": Weights(whole=1.0, places=2.0),
    "bounding_boxes": Weights(whole=1.0, places=2.0),
    "color_palette": Weights(whole=1.0),
}
# Towers that learned from open data alone add less than they take at more than half the weight of words.
OPEN_WEIGHTS: Mapping[str, Weights] = {**WEIGHTS, "caption": Weights(words=1.0, learned=0.5)}
# Open data has no sketches of photos by hand, which is what a map is for.
MAPPED: Mapping[str, float] = {"canny_edge": 1.0}
TOLD, TELLING = 64, 4.0  # the rank of the network's linear map to words, and their weight, chosen like the others
NETWORK = "4m-tiny"
_FOR_MEANS = 2_000  # photos, and captions, that the means of towers are taken over


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--left-out", multiple=True, help="A source that is not used; may be repeated.")
@click.option("--open", "open_only", is_flag=True, help="Use open data alone.")
@click.option("--steps", type=click.IntRange(min=1), default=Schedule.steps, show_default=True)
def main(folders: tuple[Path, ...], to: Path, left_out: tuple[str, ...], open_only: bool, steps: int) -> None:
    """Fit the axes and means, train both towers, and write the space into a folder."""
    torch.set_num_threads(1)
    to.mkdir(parents=True, exist_ok=True)
    classes = read_classes()
    material = read_material(folders, Choice(frozenset(left_out), open_only), classes)
    click.echo(f"{len(material.thing):,} photos of {', '.join(material.sources)}")
    chosen = (OPEN_WEIGHTS, {}) if open_only else (WEIGHTS, MAPPED)
    towers = make_towers(material, classes, *chosen)
    train_towers(towers, material, Schedule(steps=steps), to, click.echo)
    set_means(towers, material)
    save_towers(towers, to / FILE)
    save_classes(classes, to / CLASSES_FILE)
    write_bundle(to / FILE, BUNDLES / NETWORK, to / "bundle")
    click.echo(f"written to {to / FILE} and, with the bundled network, to {to / 'bundle'}")


def read_classes() -> torch.Tensor:
    """The sentences of ConSE's classes: unit (1000, 384)."""
    folder = check_encoders(default_home())
    reader = load_minilm(folder / "minilm-l6.safetensors", folder / "minilm-l6.tokenizer.json")
    names = class_sentences()
    with torch.inference_mode():
        found = torch.cat([reader(names[start : start + 64]).pooled for start in range(0, len(names), 64)])
    return found.clone()


def make_towers(
    material: Material, classes: torch.Tensor, weights: Mapping[str, Weights], mapped: Mapping[str, float]
) -> Towers:
    """Towers whose axes and means by modality are fitted, with random weights; words are told by `NETWORK`."""
    torch.manual_seed(0)
    known = {modality: len(found) for modality, found in material.rendered.items()}
    count = len(kinds(material.captions))
    known |= {PHOTO: count, CAPTION: count} if count else {}
    mapped = {name: share for name, share in mapped.items() if name in known}
    shape = Shape(told=TOLD, telling=TELLING) if count else Shape()
    towers = Towers(shape, weights, known, mapped, load_bundle(NETWORK).shortcuts.of(PHOTO, SEMANTIC).forward)
    towers.get_buffer("classes").copy_(classes)
    fit_bases(towers, material)
    return towers


@torch.no_grad()
def set_means(towers: Towers, material: Material) -> None:
    """The means of what the trained towers give, and of whole photo vectors."""
    rows = balanced(material.source, _FOR_MEANS)
    seen = material.photos.at(rows)
    towers.get_buffer("photo_mean").copy_(towers.photo(towers.tower_input(seen)).mean(dim=0))
    asked = balanced(material.captions.source, _FOR_MEANS)
    vectors = material.captions.vectors[asked]
    towers.get_buffer("caption_mean").copy_(towers.caption(vectors).mean(dim=0))
    _set_kinds(towers, material.captions)
    items = towers.item(towers.photos(seen))
    towers.get_buffer("prior").copy_(torch.nn.functional.normalize(items, dim=1).mean(dim=0))


def _set_kinds(towers: Towers, captions: Captions) -> None:
    """The means of each kind's captions, and of what their tower makes of them."""
    for number, source in enumerate(kinds(captions)):
        own = captions.vectors[torch.from_numpy(captions.source == source)]
        towers.get_buffer(f"{WORDS}_of_{CAPTION}")[number] = own.mean(dim=0)
        towers.get_buffer(f"{LEARNED}_of_{CAPTION}")[number] = towers.caption(own).mean(dim=0)


if __name__ == "__main__":
    main()
