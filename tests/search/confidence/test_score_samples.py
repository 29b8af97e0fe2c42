"""The samples that probabilities compare with are those of spaces that are there."""

from dataclasses import replace

import numpy as np

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.session import Database
from anyseek.search.confidence.score_samples import Backgrounds
from anyseek.search.types import Collection
from tests.search.gallery import WORDS, WordsEmbedder


def test_the_sample_of_a_space_that_was_dropped_is_let_go(
    database: Database, gallery: Collection, embedder: WordsEmbedder
) -> None:
    held = Backgrounds(database)
    with database.read() as session:
        head = collections.head(session, gallery.name)
    for space in head.spaces:
        mean = np.zeros(space.dimension, np.float32)
        held.get(head, space, embedder.spaces[space.name], mean, len(WORDS))
    assert set(held._held) == {space.id for space in head.spaces}
    left = replace(head, spaces=head.spaces[:1], last_seq=head.last_seq + 100)
    mean = np.zeros(left.spaces[0].dimension, np.float32)
    held.get(left, left.spaces[0], embedder.spaces[left.spaces[0].name], mean, len(WORDS))
    assert set(held._held) == {left.spaces[0].id}
    other = replace(head, id=head.id + 1)
    space = replace(head.spaces[1], id=99)
    held.get(other, space, embedder.spaces[space.name], np.zeros(space.dimension, np.float32), 0)
    assert set(held._held) == {left.spaces[0].id, 99}  # another collection's stay
