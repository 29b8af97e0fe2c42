"""Queries of which something may be missing, as users give them: the means of their vectors are measured on these.

A sample of a data set has all of its metadata. A user gives a few fields, or all that are known of a picture, and the
network is told in both cases that there may be more.
"""

from dataclasses import dataclass

import numpy as np

from model.formats.metadata import Metadata, metadata_from_text
from model.tiny_inputs import padded_ids, text_ids
from model.tokenizers.text import TextTokenizer
from model.tokens import ModalityInput

FEW = 3  # the most fields of a short query


@dataclass(frozen=True)
class MetadataQueries:
    """Makes queries of samples' metadata in a bundle's vocabulary, each at most `longest` ids.

    `most`: between one and so many fields of each sample, drawn anew every time; None for all of them.
    """

    text: TextTokenizer
    longest: int
    most: int | None
    generator: np.random.Generator

    def __call__(self, whole: ModalityInput) -> ModalityInput:
        """Ids of whole metadata (B, n) -> those of queries (B, m)."""
        rows = [self._query(ids[~mask].tolist()) for ids, mask in zip(whole.values, whole.mask, strict=True)]
        return padded_ids(rows)

    def _query(self, ids: list[int]) -> list[int]:
        known = metadata_from_text(self.text.decode(ids))
        names = [str(name) for name in self.generator.permutation(list(known.values))]
        count = len(names) if self.most is None else int(self.generator.integers(1, self.most + 1))
        given = Metadata({name: known.values[name] for name in names[:count]})
        return text_ids(self.text, "metadata", given, self.longest)
