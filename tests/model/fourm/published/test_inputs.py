"""Batches of samples for published networks."""

import numpy as np
import pytest
import torch

from anyseek.model.errors import UnsupportedModality
from anyseek.model.fourm.inputs import FourMParts, encode_samples
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.seam import Sample
from tests.model.fourm.published.values import PICTURE, VALUES

SAMPLES = [
    Sample(VALUES),
    Sample({"caption": "a"}),
    Sample({"rgb": PICTURE[::-1].copy(), "caption": "two dogs in the snow"}),
    Sample({"metadata": VALUES["metadata"], "depth": VALUES["depth"], "t5_caption": VALUES["t5_caption"]}),
]


@pytest.fixture(scope="module")
def batch(parts: FourMParts) -> dict[str, ModalityInput]:
    return encode_samples(parts, SAMPLES).inputs


def test_every_modality_has_an_entry_for_every_sample(parts: FourMParts, batch: dict[str, ModalityInput]) -> None:
    # a picture enters as pixels wherever a network takes those
    assert set(batch) == set(parts.network.config.domains_in) - {"tok_rgb@224"}
    for key, entry in batch.items():
        row = parts.network.config.row(key)
        assert len(entry.values) == len(entry.mask) == len(SAMPLES)
        assert entry.mask.shape[1] == (row.tokens if row.is_image else entry.values.shape[1])


def test_what_a_sample_lacks_is_masked(batch: dict[str, ModalityInput]) -> None:
    used = {key: (~entry.mask).sum(dim=1).tolist() for key, entry in batch.items()}
    assert used["rgb@224"] == [196, 0, 196, 0]
    assert used["tok_depth@224"] == [196, 0, 0, 196]
    assert used["tok_imagebind@224"] == [256, 0, 0, 0]
    assert used["tok_dinov2_global"] == [16, 0, 0, 0]
    assert used["t5_caption"] == [5, 0, 0, 5]
    assert used["metadata"] == [5, 0, 0, 5]  # two pairs and [S_1]


def test_given_texts_end(parts: FourMParts, batch: dict[str, ModalityInput]) -> None:
    caption, metadata = batch["caption"], batch["metadata"]
    text = parts.tokenizers.text.decode(caption.values[0][~caption.mask[0]].tolist())
    assert text.endswith("[EOS]")
    assert "bus" in text
    assert parts.tokenizers.text.decode(metadata.values[0][~metadata.mask[0]].tolist()).endswith("[S_1]")


@torch.no_grad()
def test_a_batch_gives_what_its_samples_give_alone(parts: FourMParts, batch: dict[str, ModalityInput]) -> None:
    targets = ["tok_dinov2_global", "tok_semseg@224"]
    together = parts.network.decode_global(parts.network.encode(batch), targets)
    for place, sample in enumerate(SAMPLES):
        alone = parts.network.decode_global(parts.network.encode(encode_samples(parts, [sample]).inputs), targets)
        for key in targets:
            torch.testing.assert_close(together[key][place], alone[key][0], atol=1e-5, rtol=1e-5)


def test_the_order_of_a_sample_does_not_matter(parts: FourMParts, batch: dict[str, ModalityInput]) -> None:
    backwards = encode_samples(parts, [Sample(dict(reversed(VALUES.items())))]).inputs
    assert list(backwards) == list(batch)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("clip", np.zeros((512, 16, 16), np.float32), r" for clip have the shape \(512, 14, 14\), not"),
        ("dinov2_global", np.zeros(1280, np.float32), r"the shape \(768,\), not \(1280,\)"),
    ],
)
def test_values_of_another_shape_are_refused(parts: FourMParts, name: str, value: object, words: str) -> None:
    with pytest.raises(FormatInvalid, match=words):
        encode_samples(parts, [Sample({name: value})])


def test_modalities_that_the_network_does_not_take_are_refused(parts: FourMParts) -> None:
    assert parts.load_upscaler is not None
    larger = parts.load_upscaler()
    with pytest.raises(UnsupportedModality, match="4M-7-SR_L_CC12M does not take metadata; it takes rgb, depth"):
        encode_samples(larger, [Sample({"metadata": VALUES["metadata"]})])
    assert encode_samples(larger, [Sample({"rgb": PICTURE})]).inputs["rgb@224"].values.shape == (1, 3, 224, 224)
