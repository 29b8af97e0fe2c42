"""How much a caption should count beside a map of the same photo.

    python -m benchmarks.words_beside_maps PACKS [--limit 300]

For rooms and photos with measured maps: R@10 of map and caption, fused late with several weights of the caption, and
how far both stand out in the default space: the mean cosine of a query and its own photo over the variance of its
cosines with all photos. For two independent scores, their ratio is the best ratio of weights (Fisher's discriminant).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from anyseek.model.galleries.demo import FOLDER, read_views
from anyseek.model.home import default_home
from anyseek.model.loading import load_embedder
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.seam import Embedder, FloatArray, Sample, Value
from anyseek.search.evaluation.aligned import evenly
from anyseek.search.evaluation.measured_maps import MappedPhotos, mapped_photos
from anyseek.search.evaluation.measures import ranks
from anyseek.search.query_vectors import centre_queries, fuse
from anyseek.search.settings import Limits
from anyseek.search.spaces.base import centre

_AT_ONCE = 32
_WEIGHTS = (1.0, 0.5, 0.3, 0.2, 0.15, 0.1, 0.0)


@click.command()
@click.argument("packs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="4m-tiny", show_default=True, help="A bundled model.")
@click.option("--limit", type=click.IntRange(4), help="At most so many photos of each source.")
def main(packs: Path, model: str, limit: int | None) -> None:
    """Print a row for each source and kind of map."""
    embedder = load_embedder(model, default_home())
    weights = " | ".join(f"caption x {weight:g}" for weight in _WEIGHTS)
    click.echo(f"source | map | photos | {weights} | map stands out | caption stands out")
    for found in (_rooms(limit), *mapped_photos(packs, limit)):
        for line in _lines(embedder, found):
            click.echo(line)


def _rooms(limit: int | None) -> MappedPhotos:
    views = {view["key"]: view for view in evenly(read_views(), limit)}

    def value(modality: str, file: str) -> Value:
        return decode_file(modality, FOLDER / file, Limits())

    photos = {key: Sample({"rgb": value("rgb", view["file"])}) for key, view in views.items()}
    depth = {key: value("depth", view["modalities"]["depth"]) for key, view in views.items()}
    return MappedPhotos("rooms", photos, {"depth": depth}, {key: view["caption"] for key, view in views.items()})


def _lines(embedder: Embedder, found: MappedPhotos) -> Iterator[str]:
    keys = [key for key in found.photos if key in found.captions]
    space = embedder.spaces[embedder.default_space("rgb")]
    raw = np.concatenate(
        [
            embedder.embed_gallery([found.photos[key] for key in some], [space.name])[space.name]
            for some in _batches(keys)
        ]
    )
    photos = centre(raw, raw.mean(axis=0), space.blocks)
    caption = _asked(embedder, space.name, "caption", found.captions, keys)
    own = np.arange(len(keys))
    for modality, maps in found.maps.items():
        shown = _asked(embedder, space.name, modality, maps, keys)
        shares = []
        for weight in _WEIGHTS:
            asked = np.stack([fuse(np.stack(pair), [1.0, weight]) for pair in zip(shown, caption, strict=True)])
            shares.append(f"{(ranks(asked, photos, own) <= 10).mean():.3f}")
        told = [found.source, modality, f"{len(keys)}", *shares, _outstanding(shown, photos)]
        yield " | ".join([*told, _outstanding(caption, photos)])


def _asked(
    embedder: Embedder, space: str, modality: str, values: Mapping[str, Value], keys: Sequence[str]
) -> FloatArray:
    """The centred vectors of one query a key."""
    raw = [embedder.embed([Sample({modality: values[key]}) for key in some], [space])[space] for some in _batches(keys)]
    return centre_queries(embedder.spaces[space], [modality], np.concatenate(raw))


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]


def _outstanding(asked: FloatArray, photos: FloatArray) -> str:
    cosines = asked @ photos.T
    variance = float(cosines.var(axis=1).mean())
    return f"{np.diag(cosines).mean() / variance:.0f}" if variance else "-"


if __name__ == "__main__":
    main()
