"""4M networks on another device, simulated: the same vectors and predictions, nothing left behind, no waits."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from anyseek.model.fourm.graphs import Graphs
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published import loading
from anyseek.model.fourm.published.loading import load_published
from anyseek.model.loading import load_model
from anyseek.model.network.transformer import FourM
from anyseek.model.seam import PredictOptions, Sample, TargetOptions
from tests.model.fourm.published.values import VALUES
from tests.simulated_card import CARD, SimulatedCard, simulated_card
from tests.simulated_graphs import install

SPACES = ("dinov2_global", "imagebind_global", "clip")
LEAST_COSINE = 0.9999  # the rule of docs/gpu.md for vectors of one fingerprint


@pytest.fixture(scope="module")
def card() -> Iterator[SimulatedCard]:
    with simulated_card() as running:
        yield running


@pytest.fixture(scope="module")
def on_card(card: SimulatedCard, published_home: Path) -> Iterator[FourMModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "chosen_device", lambda name: CARD)
        yield load_model("4M-21_B", published_home)


def test_every_modality_has_the_vectors_that_it_has_on_the_cpu(on_card: FourMModel, model: FourMModel) -> None:
    samples = [*(Sample({name: value}) for name, value in VALUES.items()), Sample(VALUES), Sample({"caption": "a bus"})]
    expected = model.embed_decoded(samples, SPACES)
    for decoding, vectors in on_card.embed_decoded(samples, SPACES).items():
        for space, rows in vectors.items():
            cosines = (rows * expected[decoding][space]).sum(axis=1)
            assert cosines.min() > LEAST_COSINE, (decoding, space, cosines.round(5))


def test_pictures_are_embedded_with_one_wait_and_one_batch(
    on_card: FourMModel, card: SimulatedCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program waits once for each space, when all batches are under way."""
    monkeypatch.setitem(vars(on_card), "batch", 2)
    card.waits.clear()
    on_card.embed([Sample({"rgb": VALUES["rgb"]})] * 7, SPACES)
    assert card.waits == ["aten._to_copy.default"] * len(SPACES)


def test_samples_of_several_lengths_are_embedded_without_further_waits(
    on_card: FourMModel, card: SimulatedCard
) -> None:
    samples = [Sample({"caption": "a " * length}) for length in (1, 9, 30)] + [Sample({"rgb": VALUES["rgb"]})]
    card.waits.clear()
    on_card.embed(samples, SPACES)
    assert card.waits == ["aten._to_copy.default"] * len(SPACES)


@pytest.mark.parametrize("given", ["words of several lengths", "pictures", "every modality"])
def test_graphs_give_the_same_vectors_with_the_same_waits(
    on_card: FourMModel, model: FourMModel, card: SimulatedCard, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """A capture fails in which a pass waits, or copies from the CPU: so a pass of any modality does neither."""
    cuda = install(monkeypatch)
    monkeypatch.setattr(on_card, "graphs", Graphs(on_card.parts.network.config, CARD))
    batches = {
        "words of several lengths": [[Sample({"caption": "a red bus " * number})] for number in (1, 2, 3)],
        "pictures": [[Sample({"rgb": VALUES["rgb"]})] * 3] * 3,
        "every modality": [[Sample(VALUES)]] * 3,
    }[given]
    waits = []
    for samples in batches:
        expected = model.embed_decoded(samples, SPACES)
        card.waits.clear()
        for decoding, vectors in on_card.embed_decoded(samples, SPACES).items():
            for space, rows in vectors.items():
                assert (rows * expected[decoding][space]).sum(axis=1).min() > LEAST_COSINE, (decoding, space)
        waits.append(list(card.waits))
    assert [graph.replays for graph in cuda.graphs] == [2]
    assert waits[1] == waits[2] == waits[0]


def test_its_blocks_are_compiled_where_that_is_asked(published_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[FourM]()
    monkeypatch.setattr(loading, "compile_where_asked", asked.append)
    loaded = load_published("4M-21_B", published_home)
    assert asked == [loaded.parts.network]


def test_everything_is_on_the_device(on_card: FourMModel) -> None:
    assert on_card.device == CARD
    modules = [on_card.parts.network, *(space.tokenizer for space in on_card.embedding.spaces.values())]
    for module in modules:
        assert {tensor.device for tensor in [*module.parameters(), *module.buffers()]} == {CARD}


def test_vectors_in_float32_have_the_fingerprint_of_the_cpu_and_others_their_own(
    on_card: FourMModel, model: FourMModel, published_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `python -m benchmarks.gpu` shows, bfloat16 does not hold the rule even between batches of one CPU."""
    assert on_card.fingerprint == model.fingerprint
    fingerprints = {model.fingerprint}
    for device in (torch.device("cpu"), CARD):
        monkeypatch.setattr(loading, "chosen_device", lambda name, device=device: device)
        fingerprints.add(load_model("4M-21_B:dtype=bfloat16", published_home).fingerprint)
    assert len(fingerprints) == 3


def test_guided_vectors_and_codes_are_those_of_the_cpu(on_card: FourMModel, model: FourMModel) -> None:
    samples, weights = (
        [Sample({"caption": "a red bus", "metadata": VALUES["metadata"]})],
        [{"caption": 2.0, "metadata": -0.5}],
    )
    here, there = (each.embed_guided(samples, weights, SPACES[:1])[SPACES[0]] for each in (model, on_card))
    assert (here * there).sum() > LEAST_COSINE
    here, there = (each.code_probabilities(samples, SPACES[0]) for each in (model, on_card))
    np.testing.assert_allclose(there, here, atol=1e-4)
    vectors = np.eye(3, 768, dtype=np.float32)
    np.testing.assert_array_equal(on_card.codes_of(vectors, SPACES[0]), model.codes_of(vectors, SPACES[0]))
    np.testing.assert_allclose(
        on_card.through_codes(vectors, SPACES[0]), model.through_codes(vectors, SPACES[0]), atol=1e-4
    )


@pytest.mark.parametrize("target", ["depth", "dinov2_global", "caption", "human_pose"])
def test_a_target_is_predicted_on_the_device(on_card: FourMModel, model: FourMModel, target: str) -> None:
    """The likeliest tokens, drawn without chance, are those of the CPU."""
    greedy = TargetOptions(temperature=0.0, guidance=2.0)
    options = PredictOptions(seed=0, decoding_steps=2, targets={target: greedy})
    here, there = (each.predict([{"rgb": VALUES["rgb"]}], [target], options)[0][target] for each in (model, on_card))
    assert here.tokens is not None
    assert there.tokens is not None
    np.testing.assert_array_equal(there.tokens[:4], here.tokens[:4])
