"""Conversion of modality values to tokenizer inputs."""

from typing import Any

import numpy as np
import pytest

from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.network.config import ConfigInvalid
from anyseek.model.seam import Regions
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.inputs import (
    InputKind,
    input_kind,
    instance_mask,
    instance_numbers,
    tokenizer_input,
)

_MLP = "BottleneckMLP/B_1-Wi_8"


def _config(**values: Any) -> TokenizerConfig:
    return TokenizerConfig.from_values(values)


@pytest.mark.parametrize(
    ("field", "config", "kind"),
    [
        ("rgb", {"n_channels": 3}, InputKind.PICTURE),
        ("depth", {"n_channels": 1}, InputKind.PICTURE),
        ("sam_edge", {"n_channels": 1}, InputKind.PICTURE),
        ("semseg", {"n_channels": 8, "n_labels": 20}, InputKind.LABELS),
        ("instances", {"n_channels": 1}, InputKind.MASK),
        ("clip", {"n_channels": 512, "patch_proj": False}, InputKind.MAP),
        ("anything", {"n_channels": 7, "enc_type": _MLP, "dec_type": _MLP}, InputKind.VECTOR),
    ],
)
def test_the_input_kind_depends_on_the_tokenizer(field: str, config: dict[str, Any], kind: InputKind) -> None:
    assert input_kind(field, _config(**config)) is kind


@pytest.mark.parametrize(
    ("field", "config"), [("depth", {"n_channels": 3}), ("caption", {"n_channels": 1}), ("semseg", {"n_labels": 257})]
)
def test_unsupported_fields_are_rejected(field: str, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid):
        input_kind(field, _config(**config))


def test_pictures_and_drawings_lie_in_the_same_range_and_keep_their_centre() -> None:
    picture = np.zeros((8, 12, 3), np.uint8)
    picture[:, 2:10] = 255
    assert tokenizer_input("rgb", picture, _config(n_channels=3), 8).min() == 1.0  # the dark sides are cut off
    drawing = tokenizer_input("canny_edge", picture[..., 0], _config(n_channels=1), 8)
    assert (drawing.shape, drawing.max()) == ((1, 8, 8), 1.0)


def test_labels_are_ids_as_they_are_or_those_of_coco() -> None:
    regions = Regions(np.array([[0, 3], [3, 3]]), {0: "floor", 3: "dog"})
    assert tokenizer_input("semseg", regions, _config(n_labels=4), 2).tolist() == [[0, 3], [3, 3]]
    coco = tokenizer_input("semseg", regions, _config(n_labels=134), 2)
    assert coco[0, 0] != 3
    assert len({int(label) for label in coco[1]}) == 1
    with pytest.raises(FormatInvalid, match="takes ids from 0 to 2, not 3"):
        tokenizer_input("semseg", regions, _config(n_labels=3), 2)


def test_an_instance_fills_its_square() -> None:
    ids = np.zeros((10, 10), np.int64)
    ids[2:6, 3:9] = 4
    ids[2, 3] = 9
    regions = Regions(ids, {})
    assert instance_numbers(regions) == [4, 9]
    mask = instance_mask(regions, 4, 8)
    assert (mask.shape, mask.dtype) == ((1, 8, 8), np.float32)
    assert mask[0, 0, 0] == 0
    assert mask[0, 2:].all()


def test_arrays_have_their_channels_first_and_another_shape_is_refused() -> None:
    features = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    found = tokenizer_input("clip", features, _config(n_channels=4, patch_proj=False), 0)
    assert found.shape == (4, 2, 3)
    assert found.dtype == np.float32
    assert found[1, 0, 2] == features[0, 2, 1]
    with pytest.raises(FormatInvalid, match="not "):
        tokenizer_input("clip", features, _config(n_channels=5, patch_proj=False), 0)
    with pytest.raises(FormatInvalid, match=r"\(4,\)"):
        tokenizer_input("x", features[0, 0, :3], _config(n_channels=4, enc_type=_MLP, dec_type=_MLP), 0)
