"""Guided vectors of a random published network, beside its logits computed one sample at a time."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.fourm.bundled.shortcuts import Shortcuts
from anyseek.model.fourm.guided import guided_vectors
from anyseek.model.fourm.inputs import Encoded, FourMParts, encode_samples
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published.modalities import targets_of
from anyseek.model.fourm.spaces import Embedding
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.seam import Decoding, FloatArray, Sample
from tests.model.fourm.published.values import VALUES

CLOSE = 2e-5
SPACES = ("dinov2_global", "imagebind_global", "clip")
DEPTH, CAPTION = Sample({"depth": VALUES["depth"]}), Sample({"caption": "a longer caption of a red bus"})
BOTH = Sample({**DEPTH.values, **CAPTION.values})


def _guided(model: FourMModel, space: str, sample: Sample, **weights: float) -> FloatArray:
    return model.embed_guided([sample], [weights], [space])[space][0]


def _logits(parts: FourMParts, sample: Sample, space: str, hide: bool = False) -> Tensor:
    inputs = encode_samples(parts, [sample]).inputs
    if hide:
        inputs = {key: ModalityInput(given.values, torch.ones_like(given.mask)) for key, given in inputs.items()}
    key = targets_of(parts.network.config)[space].key
    with torch.inference_mode():
        return parts.network.decode_global(parts.network.encode(inputs), [key])[key]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("weights", [(0.5, 0.5), (2.0, -0.75), (1.0, 1.0), (-1.0, 0.0), (0.0, 0.0)])
def test_codes_are_decoded_from_logits_that_are_led_away_from_those_of_nothing(
    model: FourMModel, parts: FourMParts, space: str, weights: tuple[float, float]
) -> None:
    nothing = _logits(parts, CAPTION, space, hide=True)
    apart = [_logits(parts, sample, space) for sample in (DEPTH, CAPTION)]
    led = nothing + sum(weight * (logits - nothing) for weight, logits in zip(weights, apart, strict=True))
    with torch.inference_mode():
        expected = model.embedding.spaces[space].vectors(led, Decoding.SOFT)[0].numpy()
    found = _guided(model, space, BOTH, depth=weights[0], caption=weights[1])
    np.testing.assert_allclose(found, expected, atol=CLOSE)


def test_nothing_has_logits_of_its_own(model: FourMModel, parts: FourMParts) -> None:
    """Else guidance would be no more than a sum of logits."""
    nothing = [_logits(parts, sample, SPACES[0], hide=True) for sample in (DEPTH, CAPTION)]
    torch.testing.assert_close(nothing[0], nothing[1])
    assert not torch.allclose(nothing[0], _logits(parts, CAPTION, SPACES[0]), atol=1e-3)


def test_weights_beyond_a_thousand_are_scaled_down_together(model: FourMModel) -> None:
    huge = _guided(model, SPACES[0], BOTH, depth=1e300, caption=-5e299)
    np.testing.assert_allclose(huge, _guided(model, SPACES[0], BOTH, depth=1000.0, caption=-500.0), atol=CLOSE)
    assert np.isfinite(huge).all()


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused_by_name(model: FourMModel, weight: float) -> None:
    with pytest.raises(FormatInvalid, match=r"the weight of caption is .* finite"):
        _guided(model, SPACES[0], BOTH, depth=1.0, caption=weight)


@pytest.mark.parametrize(
    ("weights", "shares"),
    [((0.5, 0.5), (0.5, 0.5)), ((3.0, 1.0), (0.75, 0.25)), ((2.0, -1.0), (1.0, -0.5)), ((-1.0, -3.0), (-0.25, -0.75))],
)
def test_what_own_vectors_add_is_averaged_by_weight(
    model: FourMModel, parts: FourMParts, weights: tuple[float, float], shares: tuple[float, float]
) -> None:
    space = "dinov2_global"
    shortcuts = Shortcuts({"depth": 8, "caption": 8}, {space: 768}, {space: 4})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for tensor in shortcuts.parameters():
            tensor.copy_(torch.randn(tensor.shape) / 4)
        own = F.normalize(torch.randn(2, 8), dim=1)
    rows = {"depth": own * torch.tensor([[1.0], [0.0]]), "caption": own * torch.tensor([[0.0], [1.0]])}
    encoded = encode_samples(parts, [DEPTH, CAPTION])
    given = dict(zip(("depth", "caption"), weights, strict=True))
    with torch.inference_mode():
        plain = _vectors(model, Embedding("f", model.embedding.spaces, {}, 16), encoded.inputs, {}, given)
        residual = Embedding("f", model.embedding.spaces, {}, 16, residual=shortcuts)
        found = _vectors(model, residual, encoded.inputs, rows, given)
        added = torch.tensor(shares) @ shortcuts(rows, space)
        torch.testing.assert_close(found, F.normalize(plain + added, dim=1))


def _vectors(
    model: FourMModel,
    embedding: Embedding,
    inputs: dict[str, ModalityInput],
    own: dict[str, Tensor],
    weights: Mapping[str, float],
) -> Tensor:
    found = guided_vectors(model.parts.network, embedding, Encoded(inputs, own), [weights], ["dinov2_global"])
    return found["dinov2_global"]
