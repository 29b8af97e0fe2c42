"""The table from modalities to checkpoint keys."""

from dataclasses import replace

import pytest

from anyseek.model.errors import UnsupportedModality
from anyseek.model.fourm.codecs import TextCodec, TextStateCodec
from anyseek.model.fourm.inputs import FourMParts
from anyseek.model.fourm.published.modalities import FORMS, inputs_of, target_form, targets_of
from anyseek.model.modalities.registry import MODALITIES
from anyseek.model.network.config import PUBLISHED_MODALITIES, EmbeddingKind, FourMConfig


def test_every_checkpoint_key_belongs_to_one_modality() -> None:
    keys = [form.key for forms in FORMS.values() for form in forms]
    assert sorted(keys) == sorted(PUBLISHED_MODALITIES)
    assert FORMS.keys() <= MODALITIES.keys()


def test_codecs_are_of_the_kind_of_their_keys() -> None:
    for form in (form for forms in FORMS.values() for form in forms):
        kind = PUBLISHED_MODALITIES[form.key].kind
        assert isinstance(form.codec, TextCodec) is (kind is EmbeddingKind.SEQUENCE)
        assert isinstance(form.codec, TextStateCodec) is (kind is EmbeddingKind.SEQUENCE_EMBEDDING)


def test_a_network_uses_the_first_form_it_has(parts: FourMParts) -> None:
    small, large = parts.network.config, parts.load_upscaler().network.config
    assert (inputs_of(small)["rgb"].key, inputs_of(large)["depth"].key) == ("rgb@224", "tok_depth@224")
    assert (targets_of(small)["rgb"].key, targets_of(large)["rgb"].key) == ("tok_rgb@224", "tok_rgb@448")
    assert set(targets_of(large)) == {"rgb", "depth", "normal", "semseg", "clip"}
    without_pixels = FourMConfig(domains_in=("tok_rgb@448",), domains_out=("caption",))
    assert {name: form.key for name, form in inputs_of(without_pixels).items()} == {"rgb": "tok_rgb@448"}


def test_what_a_network_lacks_is_refused_by_name(parts: FourMParts) -> None:
    config = FourMConfig(domains_in=("caption", "rgb@224"), domains_out=("caption",))
    words = replace(parts, name="words", inputs=inputs_of(config), targets=targets_of(config))
    with pytest.raises(UnsupportedModality, match="the model words does not take depth; it takes rgb, caption"):
        words.input_form("depth")
    with pytest.raises(UnsupportedModality, match="the model words does not predict rgb; it predicts caption"):
        target_form(config, "rgb", "words")
    with pytest.raises(UnsupportedModality, match="the model words does not predict rgb; it predicts caption"):
        words.target_form("rgb")
