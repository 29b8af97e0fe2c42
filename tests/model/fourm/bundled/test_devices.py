"""The bundled model on a simulated device: its encoders, towers, decoder and captioner go along."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.errors import WeightsMissing
from anyseek.model.fourm.bundled import loading
from anyseek.model.fourm.bundled.bundle import JOINT
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.fourm.graphs import Graphs
from anyseek.model.fourm.model import FourMModel
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.network.transformer import FourM
from anyseek.model.seam import PredictOptions, Sample, Value
from tests.simulated_card import CARD, SimulatedCard, simulated_card
from tests.simulated_graphs import install

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
LEAST_COSINE = 0.9999  # the rule of docs/gpu.md

_RANDOM = np.random.default_rng(0)
VALUES: dict[str, Value] = {
    "rgb": np.kron(_RANDOM.integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8),
    "caption": "a red house beside two trees",
    "canny_edge": np.where(np.eye(64) > 0, 255, 0).astype(np.uint8),
    "depth": np.linspace(1, 9, 80 * 90, dtype=np.float32).reshape(80, 90),
    "color_palette": np.array([[255, 0, 0], [0, 0, 255]], np.uint8),
    "metadata": Metadata({"brightness": 100.0}),
}
SAMPLES = [*(Sample({name: value}) for name, value in VALUES.items()), Sample(VALUES)]


@pytest.fixture(scope="module")
def here() -> FourMModel:
    try:
        return load_bundled("4m-tiny", HOME)
    except WeightsMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def card(here: FourMModel) -> Iterator[SimulatedCard]:
    with simulated_card() as running:
        yield running


@pytest.fixture(scope="module")
def there(card: SimulatedCard) -> Iterator[FourMModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "chosen_device", lambda name: CARD)
        yield load_bundled("4m-tiny", HOME)


def test_queries_and_items_have_the_vectors_that_they_have_on_the_cpu(there: FourMModel, here: FourMModel) -> None:
    spaces = list(here.spaces)
    for made, expected in (
        (there.embed(SAMPLES, spaces), here.embed(SAMPLES, spaces)),
        (there.embed_gallery(SAMPLES, spaces), here.embed_gallery(SAMPLES, spaces)),
    ):
        for space in spaces:
            cosines = (made[space] * expected[space]).sum(axis=1)
            assert cosines.min() > LEAST_COSINE, (space, cosines.round(5))


def test_graphs_give_the_same_vectors(
    there: FourMModel, here: FourMModel, card: SimulatedCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the encoders' own vectors add is no part of a graph."""
    cuda = install(monkeypatch)
    monkeypatch.setattr(there, "graphs", Graphs(there.parts.network.config, CARD))
    spaces = list(here.spaces)
    for words in ("a red house", "two trees", "the sea"):
        samples = [Sample({"caption": words}), Sample({"caption": words, "rgb": VALUES["rgb"]})]
        expected = here.embed(samples, spaces)
        for space, rows in there.embed(samples, spaces).items():
            assert (rows * expected[space]).sum(axis=1).min() > LEAST_COSINE, (words, space)
    assert sum(graph.replays for graph in cuda.graphs) == 2


def test_its_blocks_are_compiled_where_that_is_asked(here: FourMModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[FourM]()
    monkeypatch.setattr(loading, "compile_where_asked", asked.append)
    loaded = load_bundled("4m-tiny", HOME)
    assert asked == [loaded.parts.network]


def test_items_of_one_kind_and_of_several_are_embedded_with_a_wait_for_each_space(
    there: FourMModel, card: SimulatedCard
) -> None:
    spaces = [JOINT, *there.embedding.spaces]
    for samples in ([Sample({"rgb": VALUES["rgb"]})] * 3, SAMPLES):
        card.waits.clear()
        there.embed_gallery(samples, spaces)
        assert card.waits == ["aten._to_copy.default"] * len(spaces)


def test_maps_words_and_names_are_those_of_the_cpu(there: FourMModel, here: FourMModel) -> None:
    given, options = {"rgb": VALUES["rgb"]}, PredictOptions(seed=0)
    targets = ["depth", "semseg", "caption", "semantic_global"]
    found, expected = (model.predict([given], targets, options)[0] for model in (there, here))
    np.testing.assert_allclose(found["depth"].value, expected["depth"].value, rtol=1e-3)
    assert found["caption"].value == expected["caption"].value
    assert found["caption"].certainty is not None
    assert there.tell(VALUES["rgb"]).keys() == here.tell(VALUES["rgb"]).keys()
    vectors = here.embed_gallery(SAMPLES[:1], [JOINT])[JOINT]
    assert there.names(vectors, JOINT, 5) == here.names(vectors, JOINT, 5)
