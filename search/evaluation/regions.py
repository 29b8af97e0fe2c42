"""Mean intersection over union of segmentations whose classes have names."""

from collections import defaultdict

import numpy as np

from model.embedder import Regions
from model.published.coco import LABELS, label_of
from search.evaluation.measures import Estimate
from search.evaluation.output_measures import Numbers, on_grid

_RESAMPLES, _SEED = 1000, 0


class RegionOverlap:
    """Gathers the pixels of segmentations by class name; names that COCO knows under several forms are one."""

    def __init__(self) -> None:
        self._both: list[dict[str, int]] = []
        self._either: list[dict[str, int]] = []

    def add(self, predicted: Regions, true: Regions) -> None:
        """Count one thing. Pixels that have no name in the truth are left out."""
        wanted = _names(Regions(on_grid(true.ids, predicted.ids.shape), true.classes))
        said = _names(predicted)
        known = wanted != ""
        both: dict[str, int] = defaultdict(int)
        either: dict[str, int] = defaultdict(int)
        for name in np.unique(np.concatenate([wanted[known], said[known]])).tolist():
            if name:
                both[name] = int(((wanted == name) & (said == name) & known).sum())
                either[name] = int((((wanted == name) | (said == name)) & known).sum())
        self._both.append(both)
        self._either.append(either)

    def __len__(self) -> int:
        return len(self._both)

    def mean(self) -> Estimate | None:
        """The mean over the classes that are there or predicted, with a 95% interval by resampling things."""
        names = sorted({name for one in self._either for name in one})
        if not names:
            return None
        both, either = (
            np.array([[one.get(n, 0) for n in names] for one in part]) for part in (self._both, self._either)
        )
        count = len(self._both)
        drawn = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
        low, high = np.quantile(_mean_over_classes(drawn @ both, drawn @ either), (0.025, 0.975))
        (value,) = _mean_over_classes(both.sum(axis=0)[None], either.sum(axis=0)[None])
        return Estimate(float(value), float(low), float(high))


def _mean_over_classes(both: Numbers, either: Numbers) -> Numbers:
    """Pixels (n, classes) -> mean of their ratio over classes that have any pixel (n,)."""
    ratios = np.where(either > 0, both / np.maximum(either, 1), 0.0)
    means: Numbers = ratios.sum(axis=1) / np.maximum((either > 0).sum(axis=1), 1)
    return means


def _names(regions: Regions) -> np.ndarray[tuple[int, ...], np.dtype[np.str_]]:
    """The name of each pixel's class, empty where it has none."""
    ids, places = np.unique(regions.ids, return_inverse=True)
    names = np.array([_one_name(regions.classes.get(int(number), "")) for number in ids], np.str_)
    return names[places].reshape(regions.ids.shape)


def _one_name(name: str) -> str:
    label = label_of(name)
    return name.strip().lower() if label is None else LABELS[label]
