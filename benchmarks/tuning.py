"""What `anyseek collections tune` gains on the sources of the transfer suite.

    python -m benchmarks.tuning PACKS
    python -m benchmarks.tuning PACKS --model $PWD/runs/towers/without-clothing/bundle --source clothing-co-parsing

Each source is a collection of photos. The mean of its queries is fitted to some of them, as `tune` does with the maps
and edges that items of a collection have, and all others are asked with the model's own mean and with the fitted one.
R@10; the 95% interval of the gain is taken query by query. The last column is the same with a mean fitted to maps that
the model predicts from those photos, for collections without any.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np

from anyseek.model.home import default_home
from anyseek.model.loading import load_model
from anyseek.model.seam import FloatArray, Model, PredictOptions, Sample
from anyseek.search.evaluation.aligned import Samples
from anyseek.search.evaluation.measures import estimate, ranks
from anyseek.search.evaluation.transfer_sets import EVERY, TransferSet, transfer_sets
from anyseek.search.query_means import fitted_mean
from anyseek.search.query_vectors import Tuned, centre_queries
from anyseek.search.spaces.base import centre

Embed = Callable[[Sequence[Sample], Sequence[str]], dict[str, FloatArray]]
_AT_ONCE = 16
_KINDS = ("canny_edge", "depth", "semseg")


@click.command()
@click.argument("packs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="4m-tiny", help="A bundled model, or the folder of one.")
@click.option("--source", "sources", multiple=True, help="Only this source; may be repeated.")
@click.option("--fitted", "fitted_to", type=click.IntRange(1), default=64, help="Queries that the mean is fitted to.")
@click.option("--limit", type=click.IntRange(80), help="At most so many photos of each source.")
def main(packs: Path, model: str, sources: tuple[str, ...], fitted_to: int, limit: int | None) -> None:
    """Print a row for each source and kind of query."""
    embedder = load_model(model, default_home())
    click.echo("source | query | photos | asked | own means | fitted mean | gain (95%) | fitted to predicted maps")
    for found in transfer_sets(packs, [EVERY], limit):
        if not sources or found.source in sources:
            _measure(embedder, found, fitted_to)


def _measure(embedder: Model, found: TransferSet, fitted_to: int) -> None:
    """Measure the kinds of queries whose answer is one photo."""
    place = {key: row for row, key in enumerate(found.aligned.keys)}
    for queries in found.aligned.queries:
        if queries.modality not in _KINDS or found.by_label:
            continue
        space = embedder.spaces[embedder.default_space(queries.modality)]
        photos = _vectors(embedder.embed_gallery, found.aligned.samples, space.name)
        raw = _vectors(embedder.embed, queries.samples, space.name)
        order = np.random.default_rng(0).permutation(len(raw))
        known, held_out = order[:fitted_to], order[fitted_to:]
        stored = centre(photos, photos.mean(axis=0), space.blocks)
        right = np.array([place[str(queries.own[row])] for row in held_out])

        def found_with(tuned: Tuned) -> FloatArray:
            """Whether each query finds its photo among the first ten."""
            asked = centre_queries(space, [queries.modality], raw[held_out], tuned)  # noqa: B023
            return (ranks(asked, stored, right) <= 10).astype(np.float32)  # noqa: B023

        own = found_with({})
        fitted = found_with({queries.modality: fitted_mean(space, queries.modality, raw[known])})
        told = [f"{found.source} | {queries.name} | {len(photos)} | {len(held_out)} | {own.mean():.3f}"]
        told += [f"{fitted.mean():.3f}", _change(fitted - own)]
        if queries.modality in embedder.targets:
            of = [place[str(queries.own[row])] for row in known]
            maps = _predicted(embedder, [found.aligned.samples[row] for row in of], queries.modality)
            vectors = _vectors(embedder.embed, maps, space.name)
            told.append(f"{found_with({queries.modality: fitted_mean(space, queries.modality, vectors)}).mean():.3f}")
        click.echo(" | ".join(told))


def _change(gains: FloatArray) -> str:
    gain = estimate(gains.astype(np.float64), np.mean)
    return f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


def _predicted(model: Model, photos: Sequence[Sample], modality: str) -> list[Sample]:
    """What the model predicts from photos, as queries."""
    found = [model.predict([photo.values], [modality], PredictOptions())[0][modality].value for photo in photos]
    return [Sample({modality: value}) for value in found]


def _vectors(embed: Embed, samples: Samples, space: str) -> FloatArray:
    """Raw vectors (n, d) of samples that are read a few at a time."""
    rows = [
        embed([samples[row] for row in range(start, min(start + _AT_ONCE, len(samples)))], [space])[space]
        for start in range(0, len(samples), _AT_ONCE)
    ]
    return np.concatenate(rows)


if __name__ == "__main__":
    main()
