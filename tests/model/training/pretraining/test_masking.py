from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.data.contents import entry_of
from anyseek.model.data.samples import DataSample
from anyseek.model.modalities.formats.layout import Keep
from anyseek.model.network.config import EmbeddingKind, ModalityConfig
from anyseek.model.tokenizers.inputs import standardised_depth
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.config import FieldKind, Mixture, TrainedModality
from anyseek.model.training.pretraining.masking import (
    Chance,
    Masker,
    chosen_field,
    mask_grid,
    mask_vectors,
    read_field,
    read_own,
    share_out,
)
from anyseek.model.training.pretraining.plan import PlannedModality, make_vocabulary, save_vocabulary
from anyseek.model.training.run.errors import TrainingDataInvalid
from tests.model.training.shapes import shape_sample


def _planned(
    key: str, kind: FieldKind, tokens: int, given: tuple[float, ...], wanted: tuple[float, ...]
) -> PlannedModality:
    keep = (Keep.RANDOM,) * max(len(given), len(wanted))
    settings = TrainedModality.model_construct(key=key, fields=(key,), kind=kind, input=given, target=wanted, keep=keep)
    row = ModalityConfig(key, EmbeddingKind.IMAGE_TOKENS, (1, tokens), vocabulary=9)
    return PlannedModality(settings, row, tokens)


def _mixture(weights: tuple[float, ...], inputs: tuple[int, int], targets: tuple[int, int]) -> Mixture:
    return Mixture.model_validate({"weights": weights, "input_tokens": list(inputs), "target_tokens": list(targets)})


IMAGE = _planned("image", FieldKind.TOKENS, 16, (1.0, 0.1), (0.5, 2.0))
TEXT = _planned("text", FieldKind.TEXT, 12, (0.5, 0.0), (0.5, 1.0))
PIXELS = _planned("pixels", FieldKind.PICTURE, 9, (1000.0, 0.1), ())


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1), st.tuples(*[st.booleans()] * 3))
def test_budgets_are_never_exceeded_and_grids_never_overdrawn(
    inputs: int, targets: int, seed: int, available: tuple[bool, bool, bool]
) -> None:
    mixture = _mixture((1.0, 3.0), (1, inputs), (1, targets))
    draw = Masker((IMAGE, TEXT, PIXELS), mixture).draw(np.array(available), np.random.default_rng(seed))
    if draw is None:
        assert not any(available[:2])  # nothing that can be predicted is there
        return
    assert draw.input.sum() <= inputs
    assert draw.target.sum() <= targets
    assert (draw.input <= [16, 12, 9]).all()
    assert draw.target[0] <= 16 - draw.input[0]
    assert draw.target[1] <= 12
    assert draw.target[2] == 0
    assert not draw.input[~np.array(available)].any()
    assert not draw.target[~np.array(available)].any()


@given(
    st.integers(0, 300), st.lists(st.sampled_from([0.0, 0.01, 0.5, 10.0]), min_size=1, max_size=8), st.integers(0, 99)
)
def test_all_of_a_total_is_shared_out_among_those_that_take_part(
    total: int, concentrations: list[float], seed: int
) -> None:
    values = np.array(concentrations)
    if not values.any():
        return
    shares = share_out(total, values, np.random.default_rng(seed))
    assert shares.sum() == total
    assert (shares >= 0).all()
    assert not shares[values == 0].any()


def test_components_are_drawn_by_their_weights() -> None:
    masker = Masker((IMAGE, TEXT, PIXELS), _mixture((1.0, 3.0), (9, 9), (9, 9)))
    generator = np.random.default_rng(0)
    draws = [masker.draw(np.array([True, True, True]), generator) for _ in range(2000)]
    first = np.mean([draw is not None and draw.input[2] >= 8 for draw in draws])  # pixels take nearly all of it there
    assert first == pytest.approx(0.25 + 0.75 * 0.45, abs=0.06)  # in the other, half of the time


def test_a_component_that_a_sample_cannot_serve_is_left_out() -> None:
    masker = Masker((IMAGE, TEXT), _mixture((1.0, 1.0), (8, 8), (8, 8)))
    for seed in range(50):
        draw = masker.draw(np.array([False, True]), np.random.default_rng(seed))
        assert draw.input.tolist() == [0, 8]
    alone = Masker((IMAGE, TEXT), _mixture((0.0, 1.0), (8, 8), (8, 8)))
    assert alone.draw(np.array([False, True]), np.random.default_rng(0)) is None


@given(st.integers(1, 40), st.data(), st.integers(0, 2**32 - 1))
def test_a_grid_is_split_without_overlap(tokens: int, data: st.DataObject, seed: int) -> None:
    inputs = data.draw(st.integers(0, tokens))
    targets = data.draw(st.integers(0, tokens - inputs))
    input_mask, target_mask = mask_grid(tokens, inputs, targets, np.random.default_rng(seed))
    assert (~input_mask).sum() == inputs
    assert (~target_mask).sum() == targets
    assert (input_mask | target_mask).all()


@given(st.integers(1, 20), st.integers(0, 20), st.sampled_from(Keep), st.integers(0, 2**32 - 1))
def test_vectors_keep_within_their_budget(rows: int, budget: int, keep: Keep, seed: int) -> None:
    states = np.arange(1, 2 * rows + 1, dtype=np.float32).reshape(rows, 2)
    kept = mask_vectors(states, budget, keep, np.random.default_rng(seed))
    assert len(kept) <= budget
    present = kept[kept.any(axis=1)]
    assert {tuple(row) for row in present.tolist()} <= {tuple(row) for row in states.tolist()}
    if keep is Keep.ALL and rows <= budget:
        np.testing.assert_array_equal(kept, states)


def test_without_need_of_a_target_every_input_is_of_use() -> None:
    modalities = [_planned("a", FieldKind.TOKENS, 9, (1.0,), ()), _planned("b", FieldKind.TEXT, 9, (), (1.0,))]
    available, generator = np.array([True, False]), np.random.default_rng(0)
    mixture = _mixture((1.0,), (4, 4), (4, 4))
    assert Masker(modalities, mixture).draw(available, generator) is None
    draw = Masker(modalities, mixture, needs_target=False).draw(available, generator)
    assert draw.input.tolist() == [4, 0]
    assert not draw.target.any()


PATCHES = EmbeddingKind.PIXELS


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.json"
    save_vocabulary(make_vocabulary([str(shape_sample(n).values["caption"]) for n in range(20)], 90), path)
    return TextTokenizer.from_file(path)


def _read(
    text: TextTokenizer,
    field: str,
    kind: FieldKind,
    row: ModalityConfig,
    sample: DataSample,
    *,
    chance: Chance | None = None,
    **settings: Any,
) -> Any:
    """The value of one modality of a sample that went through a shard's files."""
    modality = TrainedModality.model_construct(key="m", fields=(field,), kind=kind, input=(1.0,), **settings)
    vector_length = row.width if kind is FieldKind.VECTOR else 0
    planned = PlannedModality(modality, row, row.tokens if row.is_image else row.max_length, vector_length)
    return read_field(planned, field, text, entry_of(sample.key, sample), chance or _chance())


def _chance(view: float = 0.0, text: float = 0.0) -> Chance:
    return Chance(np.random.default_rng(0), view, text)


def _ids(value: list[tuple[int, ...]]) -> list[int]:
    return [number for chunk in value for number in chunk]


def _text_row(vocabulary: int = 9999) -> ModalityConfig:
    return ModalityConfig("m", EmbeddingKind.SEQUENCE, vocabulary=vocabulary, max_length=40)


STATES = ModalityConfig("m", EmbeddingKind.SEQUENCE_EMBEDDING, width=6, max_length=5)


@pytest.mark.parametrize(("field", "channels"), [("rgb", 3), ("canny_edge", 1), ("depth", 1)])
def test_pictures_become_square_tensors(text: TextTokenizer, field: str, channels: int) -> None:
    row = ModalityConfig("m", PATCHES, (2, 2), 8, channels=channels)
    pixels = _read(text, field, FieldKind.PICTURE, row, shape_sample(0))
    assert pixels.shape == (channels, 16, 16)
    assert pixels.dtype == np.float32
    assert field != "canny_edge" or pixels.min() == pytest.approx(-1)


def test_depth_has_no_unit_and_its_holes_are_zero() -> None:
    depth = np.linspace(1.0, 3.0, 32 * 40, dtype=np.float32).reshape(32, 40)
    depth[5:9, 10:20] = np.nan
    one, other = standardised_depth(depth, 16), standardised_depth(depth * 100, 16)
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert one.shape == (1, 16, 16)
    assert np.isfinite(one).all()
    assert (one == 0).sum() >= 8
    assert one[0, -1].mean() > one[0, 0].mean()
    assert not standardised_depth(np.full((8, 8), np.nan, np.float32), 4).any()
    assert not standardised_depth(np.full((8, 8), 2.0, np.float32), 4).any()


def test_a_map_is_turned_round_to_channels_first(text: TextTokenizer) -> None:
    sample = shape_sample(2)
    row = ModalityConfig("m", PATCHES, (4, 4), 1, channels=3)
    found = _read(text, "features", FieldKind.MAP, row, sample)
    np.testing.assert_allclose(found, sample.values["features"].transpose(2, 0, 1), atol=1e-3)


def test_views_are_chosen_together(text: TextTokenizer) -> None:
    stacks = {"features": np.arange(5.0)[:, None, None, None] * np.ones((5, 2, 2, 3)), "g_vector": np.eye(5)}
    views = DataSample("v", stacks)
    row = ModalityConfig("m", PATCHES, (2, 2), 1, channels=3)
    grid = EmbeddingKind.IMAGE_TOKENS
    for place in (0.0, 0.35, 0.99):
        found = _read(text, "features", FieldKind.MAP, row, views, chance=_chance(view=place))
        vector_row = ModalityConfig("m", grid, (1, 4), vocabulary=8, width=5)
        vector = _read(text, "g_vector", FieldKind.VECTOR, vector_row, views, chance=_chance(view=place))
        assert found.max() == int(5 * place)
        assert vector.argmax() == int(5 * place)


def test_tokens_are_checked_against_the_vocabulary(text: TextTokenizer) -> None:
    sample = shape_sample(3)
    row = ModalityConfig("m", EmbeddingKind.IMAGE_TOKENS, (4, 4), vocabulary=27)
    np.testing.assert_array_equal(_read(text, "tok_rgb", FieldKind.TOKENS, row, sample), sample.values["tok_rgb"])
    small = ModalityConfig("m", EmbeddingKind.IMAGE_TOKENS, (4, 4), vocabulary=5)
    with pytest.raises(TrainingDataInvalid, match=r"tok_rgb\.npy of 0003 is no m: it has ids from"):
        _read(text, "tok_rgb", FieldKind.TOKENS, small, sample)


@pytest.mark.parametrize(("kind", "field"), [(FieldKind.MAP, "states"), (FieldKind.TOKENS, "features")])
def test_arrays_of_another_shape_are_refused(text: TextTokenizer, kind: FieldKind, field: str) -> None:
    row = ModalityConfig("m", PATCHES, (5, 4), 1, channels=3, vocabulary=9)
    with pytest.raises(TrainingDataInvalid, match="its shape is"):
        _read(text, field, kind, row, shape_sample(0))


def test_the_states_of_one_text_are_those_of_the_chosen_caption(text: TextTokenizer) -> None:
    sample = shape_sample(4)
    stored = sample.values["states"]
    whole = _read(text, "states", FieldKind.STATES, STATES, sample)
    np.testing.assert_allclose(whole, stored[:5], rtol=1e-3)
    for place, number, expected in ((0.1, 0, stored[:3]), (0.6, 1, stored[3:])):
        chance = _chance(text=place)
        states = _read(text, "states", FieldKind.STATES, STATES, sample, lengths="state_lengths", chance=chance)
        np.testing.assert_allclose(states, expected, rtol=1e-3)
        ids = _ids(_read(text, "caption", FieldKind.TEXT, _text_row(), sample, format="caption", chance=chance))
        assert text.decode(ids[:-1]) == sample.values["caption"][number].text
        assert ids[-1] == text.end_id


def test_lengths_that_do_not_add_up_are_refused(text: TextTokenizer) -> None:
    sample = DataSample("s", {**shape_sample(4).values, "state_lengths": np.array([3, 5], np.int32)})
    with pytest.raises(TrainingDataInvalid, match="it has 7 rows"):
        _read(text, "states", FieldKind.STATES, STATES, sample, lengths="state_lengths")


def test_formats_become_chunks(text: TextTokenizer) -> None:
    sample = shape_sample(5)
    palette = _read(text, "color_palette", FieldKind.TEXT, _text_row(), sample, format="color_palette")
    colour = sample.values["color_palette"][0][0]
    assert _ids(palette) == [1204 + 1, *(204 + int(value) for value in colour), text.end_id]
    boxes = _read(text, "bounding_boxes", FieldKind.TEXT, _text_row(), sample, format="det")
    assert text.decode(_ids(boxes)).endswith(f"{sample.values['bounding_boxes'][0].label} [EOS]")
    orders = set()
    for seed in range(12):
        chance = Chance(np.random.default_rng(seed), 0.0, 0.0)
        metadata = _read(text, "metadata", FieldKind.TEXT, _text_row(), sample, format="metadata", chance=chance)
        assert sorted(map(len, metadata)) == [1, 2, 2, 2]
        assert (1204, 205) in metadata  # original_width 32
        orders.add(tuple(metadata))
    assert len(orders) > 3


def test_ids_beyond_the_modalitys_vocabulary_are_refused(text: TextTokenizer) -> None:
    with pytest.raises(TrainingDataInvalid, match="from 4213 to 4276, not from 0 to 1299"):
        _read(text, "caption", FieldKind.TEXT, _text_row(1300), shape_sample(5), format="caption")
    assert _read(text, "color_palette", FieldKind.TEXT, _text_row(1300), shape_sample(5), format="color_palette")


def test_no_captions_are_no_text(text: TextTokenizer) -> None:
    bare = DataSample("s", {"caption": ()})
    assert _read(text, "caption", FieldKind.TEXT, _text_row(), bare, format="caption") is None


def test_of_alternative_fields_one_that_is_there_is_chosen(text: TextTokenizer) -> None:
    settings = TrainedModality.model_construct(key="m", fields=("lines", "edges", "dots"), kind=FieldKind.MAP)
    planned = PlannedModality(settings, ModalityConfig("m", PATCHES, (2, 2), 1, channels=3), 4)
    chosen = {
        chosen_field(planned, {"dots", "lines", "rgb"}, Chance(np.random.default_rng(0), 0.0, 0.0, field))
        for field in (0.0, 0.4, 0.6, 0.99)
    }
    assert chosen == {"lines", "dots"}
    assert chosen_field(planned, {"edges"}, _chance()) == "edges"


def test_own_vectors_are_of_the_view_and_the_text_that_is_shown() -> None:
    views = np.array([[3.0, 0.0], [0.0, 5.0]])
    sample = DataSample("s", {"edges_pooled": views, "said_vectors": views, "lines_pooled": views[0]})
    for kind, place in ((FieldKind.MAP, "view"), (FieldKind.STATES, "text")):
        fields, own = ("lines", "edges", "said"), ("lines_pooled", "edges_pooled", "said_vectors")
        settings = TrainedModality.model_construct(key="m", fields=fields, kind=kind)
        planned = PlannedModality(settings, ModalityConfig("m", PATCHES, (2, 2), 1, channels=3), 4, own=own)
        for share, expected in ((0.2, [1.0, 0.0]), (0.7, [0.0, 1.0])):
            chance = _chance(**{place: share})
            for field in ("edges", "said"):
                found = read_own(planned, field, entry_of("s", sample), chance)
                np.testing.assert_allclose(found, expected)
            np.testing.assert_allclose(read_own(planned, "lines", entry_of("s", sample), chance), [1, 0])
        assert read_own(planned, "lines", entry_of("s", DataSample("s", {"edges_pooled": views})), chance) is None
