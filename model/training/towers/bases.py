"""The parts of the towers' space that are fitted in closed form: axes of looks, means and maps."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from anyseek.model.towers.space import PHOTO, WHOLE, Projection, Towers, places_vectors, whole_vectors
from anyseek.model.training.towers.material import Captions, Material, Rendered

_MOST = 8_000  # photos that axes are fitted on, as many of each source as can be
_MOST_RENDERED = 2_000  # of a source, for its mean
_ALIKE = 0.5  # the length of the mean of unit vectors from which captions count as alike
_SHRINKING = 0.3  # of the mean standard deviation is added before axes are divided by their own
_PENALTY = 1.0  # of the mean variance of a look's numbers
_FEWEST_PAIRS = 20  # of a source
_SEED = 0


def balanced(source: np.ndarray, most: int) -> Tensor:
    """Rows of at most `most` photos, drawn so that small sources are whole before a large one has more than they."""
    generator = np.random.default_rng(_SEED)
    order = generator.permutation(len(source))
    place = np.zeros(len(source), np.int64)
    for number in np.unique(source):
        own = order[source[order] == number]
        place[own] = np.arange(len(own))
    return torch.from_numpy(np.sort(np.lexsort((order.argsort(), place))[:most]))


@torch.no_grad()
def fit_bases(towers: Towers, material: Material) -> None:
    """Set the axes of both looks, those that the photo tower sees, and the means of kinds and modalities by source."""
    photos = material.photos.at(balanced(material.source, _MOST))
    _fit(towers.whole, whole_vectors(photos.pooled), whitened=False)
    _fit(towers.places, places_vectors(photos.parts), whitened=True)
    _fit(towers.seen, towers.seen_rows(photos), whitened=True)
    for modality, by_source in material.rendered.items():
        for number, rendered in enumerate(by_source.values()):
            few = rendered.seen.at(balanced(np.zeros(len(rendered.seen.pooled)), _MOST_RENDERED))
            for block, rows in zip(("whole", "places"), towers.looks(few), strict=True):
                towers.get_buffer(f"{block}_of_{modality}")[number] = rows.mean(dim=0)
        if modality in towers.mapped:
            towers.get_buffer(f"map_of_{modality}").copy_(_map_of(towers, list(by_source.values())))
    words = photos.words.mean(dim=0)
    towers.get_buffer("words_mean").copy_(words)
    if towers.shape.told:
        _fit(towers.told, towers.tells(photos), whitened=False)
        for number, source in enumerate(kinds(material.captions)):
            few = material.photos.at(torch.from_numpy(np.flatnonzero(material.source == source)[:_MOST_RENDERED]))
            towers.get_buffer(f"{WHOLE}_of_{PHOTO}")[number] = towers.looks(few)[0].mean(dim=0)


def kinds(captions: Captions) -> list[int]:
    """The sources of one kind, whose captions are all alike: the mean of their unit vectors is long."""
    return [
        int(number)
        for number in np.unique(captions.source)
        if captions.vectors[torch.from_numpy(captions.source == number)].mean(dim=0).norm() >= _ALIKE
    ]


def _map_of(towers: Towers, sources: Sequence[Rendered]) -> Tensor:
    """A ridge regression from whole looks to those of their photos, each less its source's mean: (looks, looks).

    All sources weigh alike, whatever their number of pairs; zero if none has pairs.
    """
    width = towers.shape.looks
    products, wanted = (torch.zeros(width, width, dtype=torch.float64) for _ in range(2))
    for one in sources:
        if len(one.paired) >= _FEWEST_PAIRS:
            asked = towers.whole(whole_vectors(one.seen.pooled[one.paired])).double()
            photos = towers.whole(whole_vectors(one.photos)).double()
            asked, photos = asked - asked.mean(dim=0), photos - photos.mean(dim=0)
            products += asked.T @ asked / len(asked)
            wanted += asked.T @ photos / len(asked)
    if not products.any():
        return wanted.float()
    penalty = _PENALTY * products.diagonal().mean() * torch.eye(width, dtype=torch.float64)
    found: Tensor = torch.linalg.solve(products + penalty, wanted).float()
    return found


def _fit(projection: Projection, rows: Tensor, whitened: bool) -> None:
    """Principal axes of rows (n, d), scaled so that projected rows have a length of 1 on average."""
    mean = rows.mean(dim=0)
    centred = rows - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(rows))
    width = projection.axes.shape[1]
    axes, spread = axes[:, -width:].flip(1), variances[-width:].flip(0).clamp(min=0).sqrt()
    if whitened:
        axes = axes / (spread / spread.mean() + _SHRINKING)
    projection.mean.copy_(mean)
    projection.axes.copy_(axes / (centred @ axes).norm(dim=1).mean())
