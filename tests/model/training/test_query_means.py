"""Queries by metadata as users give them, made of what samples have."""

import numpy as np
import pytest
import torch

from anyseek.model.fourm.codecs import TextCodec
from anyseek.model.modalities.formats.metadata import Metadata, metadata_from_text, metadata_to_text
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.plan import make_vocabulary
from anyseek.model.training.query_means import FEW, MetadataQueries

WHOLE = Metadata({"brightness": 100.0, "contrast": 40.0, "n_humans": 2, "entropy": 5.0, "walkability": 0.4})


@pytest.fixture(scope="module")
def text() -> TextTokenizer:
    return TextTokenizer(make_vocabulary(["a red house"], words=20), "here")


def _whole(text: TextTokenizer, count: int) -> ModalityInput:
    """`count` samples as training gives whole metadata: all pairs, then `[EOS]`."""
    ids = [*text.encode(metadata_to_text(WHOLE)), text.end_id]
    values = torch.tensor([[*ids, 0, 0]] * count)
    return ModalityInput(values, torch.arange(values.shape[1])[None].expand(count, -1) >= len(ids))


def _queries(text: TextTokenizer, found: ModalityInput) -> list[list[int]]:
    return [ids[~mask].tolist() for ids, mask in zip(found.values, found.mask, strict=True)]


def test_a_few_fields_are_what_a_user_would_have_given(text: TextTokenizer) -> None:
    asked = MetadataQueries(text, 48, FEW, np.random.default_rng(0))(_whole(text, 60))
    counts = set()
    for ids in _queries(text, asked):
        given = metadata_from_text(text.decode(ids))
        # the very ids that the service makes of these fields
        assert ids == TextCodec("metadata", "[S_1]").ids(text, given, 48)
        assert text.decode(ids).endswith("[S_1]")
        assert "[EOS]" not in text.decode(ids)
        assert given.values.items() <= metadata_from_text(metadata_to_text(WHOLE)).values.items()
        counts.add(len(given.values))
    assert counts == {1, 2, 3}


def test_all_fields_may_still_not_be_all(text: TextTokenizer) -> None:
    for ids in _queries(text, MetadataQueries(text, 48, None, np.random.default_rng(0))(_whole(text, 5))):
        assert metadata_from_text(text.decode(ids)).values.keys() == WHOLE.values.keys()
        assert text.decode(ids).endswith("[S_1]")


def test_a_long_query_is_cut_as_the_service_does_it(text: TextTokenizer) -> None:
    asked = MetadataQueries(text, 6, None, np.random.default_rng(0))(_whole(text, 2))
    assert asked.values.shape == (2, 6)
