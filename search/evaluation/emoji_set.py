"""The emoji of the emoji suite as aligned sets, for the whole recall matrix over them."""

from pathlib import Path

from model.embedder import Sample, Value
from model.training.concepts import Split
from search.evaluation.aligned import AlignedSet, QuerySet
from search.evaluation.emoji_suite import EmojiSources, Material, Queries

_TRAINING_CONCEPTS = 600
_OTHERS = ("other_vendor_line", "other_vendor_picture")
_OWN = ("same_vendor_line", "caption", "palette")


def emoji_sets(home: Path, most: int | None) -> tuple[AlignedSet, AlignedSet]:
    """Concepts that training never saw (at most `most`), and training concepts to fit the ridge on.

    A concept has OpenMoji's picture, its line drawing, palette and name; other vendors' drawings ask from outside.
    Fetches its sources by npm and pip into `home` on the first run; raises `SourceUnavailable` if that fails.
    """
    sources = EmojiSources(home)
    tested, training = sources.material(Split.TEST, most), sources.material(Split.TRAIN, _TRAINING_CONCEPTS)
    return _aligned("emoji", tested), _aligned("emoji (training concepts)", training)


def _aligned(name: str, material: Material) -> AlignedSet:
    values: dict[str, dict[str, Value]] = {key: {"rgb": picture} for key, picture in material.pictures.items()}
    for kind in _OWN:
        queries = material.queries[kind]
        for key, value in zip(queries.keys, queries.values, strict=True):
            values[key][queries.modality] = value
    outside = tuple(_outside(kind, material.queries[kind]) for kind in _OTHERS)
    return AlignedSet(name, tuple(values), [Sample(one) for one in values.values()], queries=outside)


def _outside(kind: str, queries: Queries) -> QuerySet:
    samples = [Sample({queries.modality: value}) for value in queries.values]
    return QuerySet(kind, queries.modality, samples, tuple(queries.keys))
