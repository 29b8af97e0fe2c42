"""What the encoders make of samples, as training saw it; skipped where they are not pulled."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anyseek.model.data.labellers.encoded import FeatureOptions, feature_map, shared_encoders
from anyseek.model.data.samples import DataSample
from anyseek.model.encoders.efficientnet import EfficientNetLite0, load_efficientnet
from anyseek.model.encoders.minilm import load_minilm
from anyseek.model.encoders.preprocess import encoder_input, render_for_encoder
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.fourm.bundled.bundle import load_bundle
from anyseek.model.fourm.bundled.layout import INPUTS
from anyseek.model.fourm.bundled.loading import bundled_parts
from anyseek.model.fourm.bundled.shortcuts import load_projection
from anyseek.model.fourm.inputs import FourMParts, encode_samples
from anyseek.model.fourm.specialists import Specialists
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import FIELDS, Metadata
from anyseek.model.seam import Regions, Sample, Value
from tests.model.pulled import HOME, or_skip


def _values() -> dict[str, Value]:
    rows, columns = np.indices((60, 90))
    depth = (1 + rows / 10).astype(np.float32)
    depth[:5, :7] = np.nan
    drawing = np.zeros((60, 90), np.uint8)
    drawing[20:30, 15:70] = 200
    return {
        "rgb": np.stack([rows * 4, columns * 2, rows + columns], axis=2).astype(np.uint8),
        "canny_edge": drawing,
        "depth": depth,
        "normal": np.stack([columns * 2, rows * 4, 255 - rows], axis=2).astype(np.uint8),
        "semseg": Regions((rows // 20 + columns // 30).astype(np.int64), {0: "wall", 1: "floor"}),
        "bounding_boxes": (LabelledBox(Box(0.1, 0.2, 0.6, 0.9), "chair"), LabelledBox(Box(0.5, 0.0, 1.0, 0.4), "dog")),
        "color_palette": np.array([[200, 10, 10], [0, 90, 200]], np.uint8),
        "caption": "a red house beside a low table",
        "metadata": Metadata({"brightness": 100.0, "n_humans": 2}),
    }


@pytest.fixture(scope="module")
def image_encoder() -> EfficientNetLite0:
    with or_skip():
        return load_efficientnet(check_encoders(HOME) / "efficientnet-lite0.safetensors")


@pytest.fixture(scope="module")
def parts(image_encoder: EfficientNetLite0, random_bundle: Path) -> FourMParts:
    encoders = check_encoders(HOME)
    text_encoder = load_minilm(encoders / "minilm-l6.safetensors", encoders / "minilm-l6.tokenizer.json")
    bundle = load_bundle("random", random_bundle)
    return bundled_parts(bundle, Specialists(image_encoder, text_encoder, bundle.projection))


@pytest.mark.parametrize("modality", [name for name, row in INPUTS.items() if row.is_seen])
@torch.inference_mode()
def test_what_is_seen_is_what_the_labeller_saw(parts: FourMParts, modality: str) -> None:
    value = _values()[modality]
    known = (value,) if modality == "color_palette" else value
    labelled = feature_map(FeatureOptions(of=modality), shared_encoders(HOME)).label(DataSample("k", {modality: known}))
    pooled = torch.from_numpy(labelled[f"{modality}_pooled"].astype(np.float32))
    own = encode_samples(parts, [Sample({modality: value})]).own_vectors[modality][0]
    assert float(own @ F.normalize(pooled, dim=0)) > 0.9999


@torch.inference_mode()
def test_maps_are_projected_and_what_is_absent_is_masked(
    parts: FourMParts, image_encoder: EfficientNetLite0, random_bundle: Path
) -> None:
    values = _values()
    found = encode_samples(parts, [Sample({"caption": "a"}), Sample({"depth": values["depth"], "caption": "a dog"})])
    assert found.inputs.keys() == {"depth_map", "caption_states"}
    assert found.own_vectors.keys() == {"depth", "caption"}
    depth, caption = found.inputs["depth_map"], found.inputs["caption_states"]
    assert depth.mask.all(dim=1).tolist() == [True, False]
    assert not depth.mask[1].any()
    assert not depth.values[0].any()
    assert not found.own_vectors["depth"][0].any()
    pixels = encoder_input([render_for_encoder("depth", values["depth"])])
    expected = load_projection(random_bundle / "projection.safetensors")(image_encoder(pixels).grid)
    torch.testing.assert_close(depth.values[1:], expected, atol=1e-3, rtol=1e-4)
    assert (~caption.mask).sum(dim=1).tolist() == [3, 4]  # with [CLS] and [SEP]
    torch.testing.assert_close(found.own_vectors["caption"].norm(dim=1), torch.ones(2))


@torch.inference_mode()
def test_pictures_of_all_modalities_go_through_the_encoder_four_at_a_time(
    parts: FourMParts, image_encoder: EfficientNetLite0
) -> None:
    sizes: list[int] = []
    hook = image_encoder.register_forward_hook(lambda module, given, made: sizes.append(len(given[0])))
    encode_samples(parts, [Sample(_values()), Sample({"rgb": _values()["rgb"], "metadata": Metadata({})})])
    hook.remove()
    assert sizes == [4, 4]  # seven of the first sample, one of the second


def test_sequences_end_as_the_network_was_trained(parts: FourMParts) -> None:
    values = _values()
    samples = [
        Sample({"color_palette": values["color_palette"], "metadata": Metadata({})}),
        Sample({"metadata": values["metadata"]}),
    ]
    found = encode_samples(parts, samples)
    text = parts.tokenizers.text

    def said(key: str) -> list[str]:
        entry = found.inputs[key]
        return [text.decode(ids[~mask].tolist()) for ids, mask in zip(entry.values, entry.mask, strict=True)]

    assert said("color_palette") == ["v1=2 v0=200 v0=10 v0=10 v0=0 v0=90 v0=200 [EOS]", ""]
    assert said("metadata") == ["[S_1]", "v1=10 v0=19 v1=5 v0=2 [S_1]"]
    assert "metadata" not in found.own_vectors


def test_a_long_sequence_is_cut(parts: FourMParts) -> None:
    values = (
        encode_samples(parts, [Sample({"metadata": Metadata(dict.fromkeys(FIELDS, 1.0))})]).inputs["metadata"].values
    )
    assert values.shape == (1, 40) == (1, parts.network.config.row("metadata").max_length)
    assert values[0, -1] != encode_samples(parts, [Sample({"metadata": Metadata({})})]).inputs["metadata"].values[0, -1]
