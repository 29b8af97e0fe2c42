"""The table from modalities to checkpoint keys."""

import pytest

from model.config import PUBLISHED_MODALITIES, EmbeddingKind, FourMConfig
from model.embedder import UnsupportedModality
from model.modality import MODALITIES
from model.published.codecs import States, Text
from model.published.modalities import FORMS, input_form, inputs_of, target_form, targets_of
from model.published.model import PublishedModel


def test_every_checkpoint_key_belongs_to_one_modality() -> None:
    keys = [form.key for forms in FORMS.values() for form in forms]
    assert sorted(keys) == sorted(PUBLISHED_MODALITIES)
    assert FORMS.keys() <= MODALITIES.keys()


def test_codecs_are_of_the_kind_of_their_keys() -> None:
    for form in (form for forms in FORMS.values() for form in forms):
        kind = PUBLISHED_MODALITIES[form.key].kind
        assert isinstance(form.codec, Text) is (kind is EmbeddingKind.SEQUENCE)
        assert isinstance(form.codec, States) is (kind is EmbeddingKind.SEQUENCE_EMBEDDING)


def test_a_network_uses_the_first_form_it_has(model: PublishedModel) -> None:
    small, large = model.network.config, model.super_resolution().network.config
    assert (inputs_of(small)["rgb"].key, inputs_of(large)["depth"].key) == ("rgb@224", "tok_depth@224")
    assert (targets_of(small)["rgb"].key, targets_of(large)["rgb"].key) == ("tok_rgb@224", "tok_rgb@448")
    assert set(targets_of(large)) == {"rgb", "depth", "normal", "semseg", "clip"}
    without_pixels = FourMConfig(domains_in=("tok_rgb@448",), domains_out=("caption",))
    assert {name: form.key for name, form in inputs_of(without_pixels).items()} == {"rgb": "tok_rgb@448"}


def test_what_a_network_lacks_is_refused_by_name() -> None:
    config = FourMConfig(domains_in=("caption", "rgb@224"), domains_out=("caption",))
    with pytest.raises(UnsupportedModality, match="the model words does not take depth; it takes rgb, caption"):
        input_form(config, "depth", "words")
    with pytest.raises(UnsupportedModality, match="the model words does not predict rgb; it predicts caption"):
        target_form(config, "rgb", "words")
