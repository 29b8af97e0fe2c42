"""Texts and vectors from a bundle: what its network says becomes a value, and is given to the next target."""

from pathlib import Path

import numpy as np
import pytest
import torch

from anyseek.model.fourm.bundled.images import DenseTarget
from anyseek.model.fourm.bundled.layout import SEMANTIC, VISUAL
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.fourm.model import FourMModel
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.registry import MODALITIES
from anyseek.model.modalities.values import check_value
from anyseek.model.predict import predict
from anyseek.model.seam import PredictionInvalid, PredictOptions, Regions, Sample, TargetOptions, Value
from tests.model.pulled import HOME, or_skip
from tests.random_bundle import write_random_bundle

DENSE = ("canny_edge", "depth", "normal", "semseg")
TEXTS = ["caption", "color_palette", "metadata"]


def _load(folder: Path) -> FourMModel:
    with or_skip():
        return load_bundled("4m-tiny", HOME, folder)


def _codec(model: FourMModel, name: str) -> DenseTarget:
    codec = model.parts.targets[name].codec
    assert isinstance(codec, DenseTarget)
    return codec


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> FourMModel:
    """A bundle whose texts are known."""
    folder = tmp_path_factory.mktemp("taught") / "4m-tiny"
    says = {
        "caption": "a red house",
        "color_palette": "v1=2 v0=255 v0=0 v0=0 v0=0 v0=0 v0=255",
        "metadata": "v1=5 v0=3 v1=19 v0=1",
    }
    write_random_bundle(folder, says)
    return _load(folder)


@pytest.fixture(scope="module")
def random(random_bundle: Path) -> FourMModel:
    """A bundle that says anything."""
    return _load(random_bundle)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> FourMModel:
    """A bundle that also predicts images of 32 x 32 pixels."""
    folder = tmp_path_factory.mktemp("dense") / "4m-tiny"
    write_random_bundle(folder, dense=DENSE)
    return _load(folder)


@pytest.fixture(scope="module")
def picture() -> ByteArray:
    rows, columns = np.indices((60, 90))
    return np.stack([rows * 4, columns * 2, rows + columns], axis=2).astype(np.uint8)


def test_texts_are_values_of_their_modalities(taught: FourMModel, picture: ByteArray) -> None:
    assert taught.targets == (*TEXTS, VISUAL, SEMANTIC)
    found = predict({"rgb": picture}, ["palette", "text", "metadata"], model=taught)
    assert list(found) == ["color_palette", "caption", "metadata"]
    assert found["caption"].value == "a red house"
    np.testing.assert_array_equal(found["color_palette"].value, [[255, 0, 0], [0, 0, 255]])
    assert found["metadata"].value == Metadata({"n_humans": 3, "watermark_score": 1.0})
    assert [len(one.tokens) for one in found.values() if one.tokens is not None] == [7, 3, 4]


def test_a_target_sees_those_before_it_and_no_others(taught: FourMModel, picture: ByteArray) -> None:
    before = predict({"rgb": picture}, [VISUAL, "caption"], model=taught)
    after = predict({"rgb": picture}, ["caption", VISUAL], model=taught)
    alone, both = taught.embed(
        [Sample({"rgb": picture}), Sample({"rgb": picture, "caption": "a red house"})], [VISUAL]
    )[VISUAL]
    np.testing.assert_allclose(before[VISUAL].value, alone, atol=1e-5)
    np.testing.assert_allclose(after[VISUAL].value, both, atol=1e-5)
    assert before["caption"].value == after["caption"].value


def test_any_input_predicts_text(taught: FourMModel) -> None:
    for name, value in {"metadata": Metadata({"brightness": 3.0}), "caption": "a dog"}.items():
        assert predict({name: value}, ["color_palette"], model=taught)["color_palette"].value.shape == (2, 3)


def test_a_text_without_words_is_not_given_on(random: FourMModel, picture: ByteArray) -> None:
    found = predict({"rgb": picture}, ["color_palette", VISUAL], model=random)
    assert found["color_palette"].value.shape == (0, 3)
    np.testing.assert_allclose(
        found[VISUAL].value, random.embed([Sample({"rgb": picture})], [VISUAL])[VISUAL][0], atol=1e-5
    )


def test_draws_are_those_of_the_seed_and_the_options(random: FourMModel, picture: ByteArray) -> None:
    def tokens(**options: object) -> list[int]:
        found = predict({"rgb": picture}, ["caption"], model=random, options=PredictOptions(**options))
        return found["caption"].tokens.tolist()

    warm = {"temperature": 30.0, "top_p": 0.0}
    assert tokens(**warm, seed=1) == tokens(**warm, seed=1)
    assert tokens(**warm, seed=1) != tokens(**warm, seed=2)
    likeliest = tokens(temperature=0.0)
    assert tokens(temperature=30.0, top_k=1, seed=5) == likeliest
    assert tokens(temperature=0.0, guidance=8.0) != likeliest
    assert tokens(temperature=0.0, weights={"rgb": -8.0}) != likeliest
    assert tokens(temperature=0.0, weights={"rgb": 1.0}) == likeliest
    assert tokens(temperature=30.0, targets={"caption": TargetOptions(temperature=0.0)}) == likeliest


def test_progress_is_told_of_every_token(taught: FourMModel, picture: ByteArray) -> None:
    told: list[tuple[str, int, int]] = []
    options = PredictOptions(progress=lambda *one: told.append(one))
    predict({"rgb": picture}, ["caption", VISUAL], model=taught, options=options)
    assert told == [("caption", place, 24) for place in (1, 2, 3, 4)]  # the last one ends the text


def test_options_that_nothing_has_are_refused(taught: FourMModel, picture: ByteArray) -> None:
    with pytest.raises(PredictionInvalid, match="predicts vectors in one step and has no options for them"):
        predict({"rgb": picture}, [VISUAL], model=taught, options=PredictOptions(temperature=1.0))
    of_a_vector = PredictOptions(targets={VISUAL: TargetOptions(temperature=1.0)})
    with pytest.raises(PredictionInvalid, match="has no options for them"):
        predict({"rgb": picture}, ["caption", VISUAL], model=taught, options=of_a_vector)
    with pytest.raises(PredictionInvalid, match="leave out super-resolution"):
        predict({"rgb": picture}, ["caption"], model=taught, options=PredictOptions(super_resolution=True))
    predict({"rgb": picture}, ["caption", VISUAL], model=taught, options=PredictOptions(temperature=1.0))


def test_images_are_values_of_their_modalities(dense: FourMModel, picture: ByteArray) -> None:
    assert set(dense.targets) == {*DENSE, *TEXTS, VISUAL, SEMANTIC}
    likeliest = PredictOptions(temperature=0.0)
    found = predict({"rgb": picture}, DENSE, model=dense, options=likeliest)
    for name, one in found.items():
        check_value(MODALITIES[name], one.value)
        assert one.tokens.shape == (4, 4)
        assert one.tokens.dtype == np.int64
        assert 0 <= one.tokens.min() <= one.tokens.max() < 32
        decoder = _codec(dense, name).decoder()
        with torch.inference_mode():
            image = decoder.decode_tokens(torch.from_numpy(one.tokens)[None])[0]
        assert image.shape[1:] == (32, 32)
        if name == "depth":
            np.testing.assert_allclose(one.value, image[0], atol=1e-5)
        if name == "semseg":
            np.testing.assert_array_equal(one.value.ids, image.argmax(dim=0))
            expected = {1: "wall", 2: "chair"}
            assert one.value.classes == {n: expected[n] for n in np.unique(one.value.ids) if n in expected}
    again = predict({"rgb": picture}, ["depth"], model=dense, options=likeliest)
    np.testing.assert_array_equal(again["depth"].value, found["depth"].value)  # the next ones do not see it differently


def test_an_image_of_words_is_of_mean_codes_unless_tokens_are_drawn(
    dense: FourMModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[torch.Tensor] = []

    def expected_value(target: DenseTarget, probabilities: torch.Tensor) -> Value:
        told.append(probabilities)
        return target.value(probabilities.argmax(dim=-1))

    given: dict[str, Value] = {"caption": "a chair"}
    soft = predict(given, ["depth"], model=dense)["depth"]
    monkeypatch.setattr(DenseTarget, "expected_value", expected_value)
    hard = predict(given, ["depth"], model=dense)["depth"]
    (shares,) = told
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(4, 4))
    np.testing.assert_array_equal(shares.argmax(dim=-1), soft.tokens)
    decoder = _codec(dense, "depth").decoder()
    with torch.no_grad():
        image = decoder.decode_codes((shares @ decoder.codes)[None])
    np.testing.assert_allclose(soft.value, image[0, 0], atol=1e-5)
    drawn = predict(given, ["depth"], model=dense, options=PredictOptions(temperature=0.0))["depth"]
    np.testing.assert_array_equal(drawn.value, hard.value)
    assert (drawn.value != soft.value).any()
    predict(given, ["depth"], model=dense, options=PredictOptions(weights={"caption": 2.0}))
    assert len(told) == 1


def test_an_image_of_what_can_be_seen_is_decoded_without_the_network(dense: FourMModel, picture: ByteArray) -> None:
    told: list[tuple[str, int, int]] = []
    options = PredictOptions(progress=lambda *step: told.append(step))
    targets = ["depth", "normal", "semseg"]
    found = predict({"rgb": picture, "caption": "a chair"}, targets, model=dense, options=options)
    assert told == [(name, 1, 1) for name in targets]
    for name, prediction in found.items():
        check_value(MODALITIES[name], prediction.value)
        assert prediction.tokens is None, "the network chose none"
    assert np.asarray(found["depth"].value).shape == (112, 112)
    regions = found["semseg"].value
    assert isinstance(regions, Regions)
    assert regions.ids.min() > 0
    (edges,) = predict({"rgb": picture}, ["canny_edge"], model=dense).values()
    assert edges.tokens is not None, "there is no decoder of edges"
    for drawn in (PredictOptions(temperature=0.0), PredictOptions(weights={"rgb": 2.0})):
        assert predict({"rgb": picture}, ["depth"], model=dense, options=drawn)["depth"].tokens is not None


def test_images_are_decoded_from_the_best_input_that_was_given(dense: FourMModel, picture: ByteArray) -> None:
    drawing = np.zeros((32, 32), np.uint8)
    drawing[8:24, 8:24] = 255

    def depth(targets: tuple[str, ...] = ("depth",), **inputs: Value) -> Value:
        return predict(inputs, targets, model=dense)["depth"].value

    np.testing.assert_array_equal(depth(rgb=picture, canny_edge=drawing), depth(canny_edge=drawing))
    assert (depth(rgb=picture) != depth(canny_edge=drawing)).any()
    after_edges = depth(("canny_edge", "depth"), rgb=picture)
    np.testing.assert_array_equal(after_edges, depth(rgb=picture), "the predicted drawing is none that was given")


def test_images_are_of_the_central_square(dense: FourMModel, picture: ByteArray) -> None:
    regions = Regions(np.arange(5400, dtype=np.int32).reshape(60, 90) // 600, {1: "wall"})
    inputs: dict[str, Value] = {"rgb": picture, "semseg": regions, "caption": "a chair"}
    whole = predict(inputs, ["depth"], model=dense)
    cut = Regions(regions.ids[:, 15:75], regions.classes)
    square = predict({**inputs, "rgb": picture[:, 15:75], "semseg": cut}, ["depth"], model=dense)
    np.testing.assert_array_equal(whole["depth"].value, square["depth"].value)
    with pytest.raises(FormatInvalid, match="rgb is a uint8 array"):
        predict({"rgb": np.zeros(3, np.uint8)}, ["depth"], model=dense)


def test_a_predicted_map_is_given_on_as_if_the_user_had_given_it(dense: FourMModel, picture: ByteArray) -> None:
    found = predict({"rgb": picture}, ["depth", VISUAL], model=dense)
    both = dense.embed([Sample({"rgb": picture, "depth": found["depth"].value})], [VISUAL])[VISUAL][0]
    np.testing.assert_allclose(found[VISUAL].value, both, atol=1e-5)


def test_what_the_network_sees_of_its_own_tokens_is_imagined_in_several_steps(
    dense: FourMModel, picture: ByteArray
) -> None:
    def steps(name: str, **inputs: Value) -> int:
        told: list[int] = []
        options = PredictOptions(progress=lambda what, done, of: told.append(done))
        predict(inputs, [name], model=dense, options=options)
        return max(told)

    assert steps("normal", caption="a chair") > 1
    assert steps("normal", rgb=picture) == steps("depth", caption="a chair") == 1
