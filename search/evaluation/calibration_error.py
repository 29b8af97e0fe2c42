"""Whether probabilities are what they say: expected calibration error, and average precision over all hits."""

import numpy as np
import numpy.typing as npt

BINS = 10


def calibration_error(
    probabilities: npt.NDArray[np.float64], right: npt.NDArray[np.float64], bins: int = BINS
) -> float:
    """The expected calibration error of hits (n,), each right (1) or not (0): over bins of as many hits each, the mean
    distance of their mean probability and the share of them that is right.
    """
    order = np.argsort(probabilities, kind="stable")
    some = [places for places in np.array_split(order, bins) if len(places)]
    distances = [abs(probabilities[places].mean() - right[places].mean()) * len(places) for places in some]
    return float(sum(distances) / max(len(order), 1))


def average_precision(scores: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    """The average precision of hits of many queries in one order by their scores, highest first."""
    order = np.argsort(-scores, kind="stable")
    places = np.flatnonzero(right[order]) + 1
    return float((np.arange(1, len(places) + 1) / places).mean()) if len(places) else 0.0
