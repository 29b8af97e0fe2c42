"""The curve from what is measured of a hit to its probability, and one that was fitted on a collection itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A logit: `offset` + `surprise` z + `margin` (z - z of the fifth hit) + `belonging` b + `size` ln n.

    It is that of a hit's probability in a collection of n items. b is what the query has of what these have in common,
    less what is `usual` there, and at most 0: what has more is no likelier.
    """

    offset: float
    surprise: float
    margin: float
    belonging: float
    size: float
    usual: float = 0.0

    def lacking(self, common: Numbers) -> Numbers:
        """b of what queries have in common with the collection (n,)."""
        return np.minimum(0.0, common - self.usual)

    def logits(self, features: Numbers) -> Numbers:
        """Of hits with these z, z - z of the fifth, what is common and ln n (n, 4): (n,)."""
        numbers = np.array([self.surprise, self.margin, self.belonging, self.size])
        measured = features.copy()
        measured[:, 2] = self.lacking(features[:, 2])
        return np.asarray(self.offset + measured @ numbers)


@dataclass(frozen=True)
class OwnCurve:
    """The curve of a collection's queries of one modality in one space, fitted on the collection itself.

    It was fitted to `queries` queries for the collection's own items. The expected calibration error of their best hits
    was `before` with the curve that ships and is `after` with fitted ones, on queries held out. It belongs to the space
    of this `fingerprint` alone.
    """

    modality: str
    fingerprint: str
    curve: Curve
    queries: int
    before: float
    after: float
    made_at: datetime


# Of a collection, by the id of the space and the modality of queries.
OwnCurves = Mapping[tuple[int, str], Curve]
