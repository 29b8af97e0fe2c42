"""How well near-duplicates are told from pictures that are merely alike, on the sources of the transfer suite.

    python -m benchmarks.duplicates PACKS
    python -m benchmarks.duplicates PACKS --source clothing-dataset --limit 1000

Each source is a collection of photos. Some of them are changed as people change copies, and the changed ones are
looked for. Recall is the share of changed photos that are linked with their own. Links between different photos of the
source are false, as far as nobody knows better: photos of a source can be near-duplicates themselves, so the first of
such links are named, to look at. Thresholds are those of `anyseek.search.duplicates`, and beside them those that the
other sources would choose.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageEnhance

from anyseek.model.home import default_home
from anyseek.model.loading import load_model
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.pictures import thumbnail
from anyseek.model.seam import FloatArray, Model, Sample
from anyseek.search.duplicates import LEAST_AT_A_GLANCE, LEAST_COSINE, LEAST_LIKENESS
from anyseek.search.evaluation.transfer_sets import EVERY, TransferSet, transfer_sets
from anyseek.search.likeness import glance, likeness, views
from anyseek.search.spaces.base import centre

PHOTO = "rgb"
_AT_ONCE = 16
_LOOKED_AT = 0.2  # pairs of different photos whose cosine is lower are no candidates at any threshold
_COSINES = np.arange(0.2, 0.81, 0.05)
_LIKENESSES = np.arange(0.7, 0.991, 0.01)


def _cropped(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = picture.size
    return picture.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))


def _compressed(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _scaled(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda picture: _scaled(picture, 0.5),
    "JPEG quality 30": lambda picture: _compressed(picture, 30),
    "5% off each side": lambda picture: _cropped(picture, 0.05, 0.05, 0.95, 0.95),
    "12% off one side": lambda picture: _cropped(picture, 0.12, 0.0, 1.0, 1.0),
    "darker by 30%": lambda picture: ImageEnhance.Brightness(picture).enhance(0.7),
    "brighter by 30%": lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
    "all of it, less": lambda picture: _compressed(
        ImageEnhance.Brightness(_scaled(_cropped(picture, 0.03, 0.03, 0.97, 0.97), 0.6)).enhance(1.15), 50
    ),
}


@dataclass(frozen=True)
class Measured:
    """Cosine and likeness of pairs: of each changed photo with its own (changes, photos), and of different photos.

    `named` are the keys of the different photos (pairs,), of whose `possible` pairs those with some cosine are here.
    """

    source: str
    photos: int
    possible: int
    own: FloatArray
    different: FloatArray
    named: list[tuple[str, str]]

    def recalls(self, cosine: float, alike: float) -> FloatArray:
        """The share of photos linked with their own by each change."""
        return _linked(self.own, cosine, alike).mean(axis=1)

    def false(self, cosine: float, alike: float) -> FloatArray:
        """Which of the different pairs are linked."""
        return _linked(self.different, cosine, alike)


def _linked(pairs: FloatArray, cosine: float, alike: float) -> FloatArray:
    linked: FloatArray = (pairs[..., 0] >= cosine) & (pairs[..., 1] >= alike)
    return linked


@click.command()
@click.argument("packs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="4m-tiny", help="A bundled model, or the folder of one.")
@click.option("--source", "sources", multiple=True, help="Only this source; may be repeated.")
@click.option("--limit", type=click.IntRange(2), default=400, help="At most so many photos of each source.")
@click.option("--changed", type=click.IntRange(1), default=60, help="How many of them are changed.")
def main(packs: Path, model: str, sources: tuple[str, ...], limit: int, changed: int) -> None:
    """Print for each source what is found and what is linked wrongly, and what other thresholds would give."""
    embedder = load_model(model, default_home())
    measured = [_measure(embedder, found, changed) for found in _galleries(packs, sources, limit)]
    click.echo(f"linked from cosine {LEAST_COSINE} and likeness {LEAST_LIKENESS}")
    click.echo(
        f"source | photos | {' | '.join(CHANGES)} | all | wrong links of possible | chosen on others: recall, wrong"
    )
    for one in measured:
        recalls, wrong = one.recalls(LEAST_COSINE, LEAST_LIKENESS), one.false(LEAST_COSINE, LEAST_LIKENESS)
        told = " | ".join(f"{recall:.3f}" for recall in recalls)
        others = [other for other in measured if other is not one]
        click.echo(
            f"{one.source} | {one.photos} | {told} | {recalls.mean():.3f} | {wrong.sum()} of {one.possible:,} | "
            f"{_chosen_on(others, one)}"
        )
    for one in measured:
        for place in np.flatnonzero(one.false(LEAST_COSINE, LEAST_LIKENESS))[:10]:
            first, second = one.named[place]
            click.echo(f"{one.source}: {first} = {second}  {one.different[place, 0]:.3f} {one.different[place, 1]:.3f}")


def _chosen_on(others: list[Measured], one: Measured) -> str:
    """What `one` gives at the thresholds that find most of the others, with at most one wrong link in 10,000 pairs."""
    if not others:
        return "-"
    best = max(
        ((cosine, alike) for cosine in _COSINES for alike in _LIKENESSES),
        key=lambda at: (_rate(others, *at) <= 1e-4, np.mean([other.recalls(*at).mean() for other in others])),
    )
    return f"{best[0]:.2f}, {best[1]:.2f}: {one.recalls(*best).mean():.3f}, {one.false(*best).sum()}"


def _rate(measured: list[Measured], cosine: float, alike: float) -> float:
    wrong = sum(int(one.false(cosine, alike).sum()) for one in measured)
    return wrong / sum(one.possible for one in measured)


def _galleries(packs: Path, sources: tuple[str, ...], limit: int) -> Iterator[TransferSet]:
    seen: set[str] = set()
    for found in transfer_sets(packs, [EVERY], limit):
        if found.by_label or found.source in seen or (sources and found.source not in sources):
            continue
        seen.add(found.source)
        yield found


def _measure(embedder: Model, found: TransferSet, changed: int) -> Measured:
    photos = [np.asarray(found.aligned.samples[row].values[PHOTO], np.uint8) for row in range(len(found.aligned.keys))]
    space = embedder.spaces[embedder.default_space(PHOTO)]
    raw = _vectors(embedder, photos, space.name)
    mean = raw.mean(axis=0)
    vectors, seen = centre(raw, mean, space.blocks), [_seen(photo) for photo in photos]
    chosen = np.linspace(0, len(photos) - 1, min(changed, len(photos))).astype(int)
    own = np.zeros((len(CHANGES), len(chosen), 2), np.float32)
    for row, change in enumerate(CHANGES.values()):
        others = [np.asarray(change(Image.fromarray(photos[place]))) for place in chosen]
        moved = centre(_vectors(embedder, others, space.name), mean, space.blocks)
        for column, place in enumerate(chosen):
            own[row, column] = moved[column] @ vectors[place], _alike(_seen(others[column]), seen[place])
    cosines = vectors @ vectors.T
    pairs = np.argwhere(np.triu(cosines >= _LOOKED_AT, 1))
    different = [(cosines[one, other], _alike(seen[one], seen[other])) for one, other in pairs]
    keys = found.aligned.keys
    return Measured(
        found.source,
        len(photos),
        len(photos) * (len(photos) - 1) // 2,
        own,
        np.array(different, np.float32).reshape(-1, 2),
        [(keys[one], keys[other]) for one, other in pairs],
    )


def _seen(photo: ByteArray) -> tuple[FloatArray, FloatArray]:
    """A glance and the views of a photo's thumbnail, which is what a collection has."""
    small = np.asarray(Image.open(io.BytesIO(thumbnail(photo))).convert("RGB"))
    return glance(small), views(small)


def _alike(one: tuple[FloatArray, FloatArray], other: tuple[FloatArray, FloatArray]) -> float:
    return -1.0 if float(one[0] @ other[0]) < LEAST_AT_A_GLANCE else likeness(one[1], other[1])


def _vectors(embedder: Model, photos: list[ByteArray], space: str) -> FloatArray:
    rows = [
        embedder.embed_gallery([Sample({PHOTO: photo}) for photo in photos[start : start + _AT_ONCE]], [space])[space]
        for start in range(0, len(photos), _AT_ONCE)
    ]
    return np.concatenate(rows)


if __name__ == "__main__":
    main()
