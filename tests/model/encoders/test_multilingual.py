"""The 4-bit weights of multilingual-e5-small, restored, and the vectors of translations where it was pulled."""

import struct

import numpy as np
import pytest
import torch

from anyseek.model.encoders.multilingual import convert_tokenizer, convert_weights, from_groups, load_multilingual
from anyseek.model.encoders.pull import LANGUAGES, check_encoders
from anyseek.model.errors import WeightsCorrupt, WeightsMissing
from anyseek.model.home import default_home


def test_groups_of_four_bits_are_restored() -> None:
    generator = np.random.default_rng(0)
    numbers, scales = generator.integers(-8, 8, (3, 2, 32)), np.array([[0.5, 2.0], [1.0, 0.25], [4.0, 8.0]])
    rows = [
        b"".join(
            struct.pack("<e", scale) + ((group[:16] + 8) | (group[16:] + 8) << 4).astype(np.uint8).tobytes()
            for group, scale in zip(groups, scaled, strict=True)
        )
        for groups, scaled in zip(numbers, scales, strict=True)
    ]
    packed = torch.tensor(np.frombuffer(b"".join(rows), np.uint8).reshape(3, -1).copy())
    expected = (numbers * scales[:, :, None]).reshape(3, 64)
    assert np.array_equal(from_groups(packed).numpy(), expected)


@pytest.mark.parametrize("data", [b"", b"E5S1", b"something else entirely", b"E5S1" + bytes(60)])
def test_another_file_is_refused(data: bytes) -> None:
    for convert in (convert_weights, convert_tokenizer):
        with pytest.raises(WeightsCorrupt, match="multilingual encoder cannot be read"):
            convert(data)


@torch.inference_mode()
def test_translations_are_nearest_to_each_other() -> None:
    try:
        folder = check_encoders(default_home(), LANGUAGES)
    except WeightsMissing as error:
        pytest.skip(str(error))
    encoder = load_multilingual(*(folder / source.target for source in LANGUAGES.sources))
    texts = [
        "A dog runs on the beach.",
        "A red car in a street.",
        "Ein Hund läuft am Strand.",
        "街道上的一辆红色汽车。",
    ]
    cosines = encoder(texts) @ encoder(texts).T
    assert (cosines - torch.eye(4)).argmax(dim=1).tolist() == [2, 3, 0, 1]
