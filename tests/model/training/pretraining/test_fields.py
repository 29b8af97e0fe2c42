from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyseek.model.data.contents import entry_of
from anyseek.model.data.samples import DataSample
from anyseek.model.network.config import EmbeddingKind, ModalityConfig
from anyseek.model.tokenizers.inputs import unfilled_depth
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.config import FieldKind, TrainedModality
from anyseek.model.training.pretraining.masking import Chance, FieldValue, chosen_field, read_field, read_own
from anyseek.model.training.pretraining.plan import PlannedModality, make_vocabulary, save_vocabulary
from anyseek.model.training.run.errors import TrainingDataInvalid
from tests.model.training.shapes import shape_sample

PIXELS = EmbeddingKind.PIXELS


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
    more: dict[str, Any] | None = None,
) -> FieldValue | None:
    """The value of one modality of a sample that went through a shard's files."""
    settings = TrainedModality.model_construct(key="m", fields=(field,), kind=kind, input=(1.0,), **(more or {}))
    vector_length = row.width if kind is FieldKind.VECTOR else 0
    planned = PlannedModality(settings, row, row.tokens if row.is_image else row.max_length, vector_length)
    return read_field(planned, text, entry_of(sample.key, sample), chance or _chance())


def _chance(view: float = 0.0, text: float = 0.0) -> Chance:
    return Chance(np.random.default_rng(0), view, text)


def _ids(value: FieldValue | None) -> list[int]:
    assert isinstance(value, list)
    return [number for chunk in value for number in chunk]


def test_pictures_become_square_tensors(text: TextTokenizer) -> None:
    sample = shape_sample(0)
    row = ModalityConfig("m", PIXELS, (2, 2), 8)
    rgb = _read(text, "rgb", FieldKind.PICTURE, row, sample)
    assert isinstance(rgb, np.ndarray)
    assert rgb.shape == (3, 16, 16)
    assert rgb.dtype == np.float32
    edges = _read(text, "canny_edge", FieldKind.PICTURE, ModalityConfig("m", PIXELS, (2, 2), 8, channels=1), sample)
    assert isinstance(edges, np.ndarray)
    assert edges.shape == (1, 16, 16)
    assert edges.min() == pytest.approx(-1)


def test_depth_has_no_unit_and_its_holes_are_zero(text: TextTokenizer) -> None:
    depth = np.linspace(1.0, 3.0, 32 * 40, dtype=np.float32).reshape(32, 40)
    depth[5:9, 10:20] = np.nan
    one, other = unfilled_depth(depth, 16), unfilled_depth(depth * 100, 16)
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert one.shape == (1, 16, 16)
    assert np.isfinite(one).all()
    assert (one == 0).sum() >= 8
    assert one[0, -1].mean() > one[0, 0].mean()
    assert not unfilled_depth(np.full((8, 8), np.nan, np.float32), 4).any()
    assert not unfilled_depth(np.full((8, 8), 2.0, np.float32), 4).any()
    row = ModalityConfig("m", PIXELS, (2, 2), 8, channels=1)
    assert isinstance(_read(text, "depth", FieldKind.PICTURE, row, shape_sample(1)), np.ndarray)


def test_a_map_is_turned_round_to_channels_first(text: TextTokenizer) -> None:
    sample = shape_sample(2)
    row = ModalityConfig("m", PIXELS, (4, 4), 1, channels=3)
    found = _read(text, "features", FieldKind.MAP, row, sample)
    np.testing.assert_allclose(found, sample.values["features"].transpose(2, 0, 1), atol=1e-3)  # type: ignore[arg-type]


def test_views_are_chosen_together(text: TextTokenizer) -> None:
    stacks = {"features": np.arange(5.0)[:, None, None, None] * np.ones((5, 2, 2, 3)), "g_vector": np.eye(5)}
    views = DataSample("v", stacks)
    row = ModalityConfig("m", PIXELS, (2, 2), 1, channels=3)
    grid = EmbeddingKind.IMAGE_TOKENS
    for place in (0.0, 0.35, 0.99):
        found = _read(text, "features", FieldKind.MAP, row, views, chance=_chance(view=place))
        vector_row = ModalityConfig("m", grid, (1, 4), vocabulary=8, width=5)
        vector = _read(text, "g_vector", FieldKind.VECTOR, vector_row, views, chance=_chance(view=place))
        assert isinstance(found, np.ndarray)
        assert isinstance(vector, np.ndarray)
        assert found.max() == int(5 * place)
        assert vector.argmax() == int(5 * place)


def test_tokens_are_checked_against_the_vocabulary(text: TextTokenizer) -> None:
    sample = shape_sample(3)
    row = ModalityConfig("m", EmbeddingKind.IMAGE_TOKENS, (4, 4), vocabulary=27)
    np.testing.assert_array_equal(_read(text, "tok_rgb", FieldKind.TOKENS, row, sample), sample.values["tok_rgb"])  # type: ignore[arg-type]
    small = ModalityConfig("m", EmbeddingKind.IMAGE_TOKENS, (4, 4), vocabulary=5)
    with pytest.raises(TrainingDataInvalid, match=r"tok_rgb\.npy of 0003 is no m: it has ids from"):
        _read(text, "tok_rgb", FieldKind.TOKENS, small, sample)


@pytest.mark.parametrize(("kind", "field"), [(FieldKind.MAP, "states"), (FieldKind.TOKENS, "features")])
def test_arrays_of_another_shape_are_refused(text: TextTokenizer, kind: FieldKind, field: str) -> None:
    row = ModalityConfig("m", PIXELS, (5, 4), 1, channels=3, vocabulary=9)
    with pytest.raises(TrainingDataInvalid, match="its shape is"):
        _read(text, field, kind, row, shape_sample(0))


def test_the_states_of_one_text_are_those_of_the_chosen_caption(text: TextTokenizer) -> None:
    sample = shape_sample(4)
    row = ModalityConfig("m", EmbeddingKind.SEQUENCE_EMBEDDING, width=6, max_length=5)
    more = {"lengths": "state_lengths"}
    first = _read(text, "states", FieldKind.STATES, row, sample, more=more, chance=_chance(text=0.1))
    second = _read(text, "states", FieldKind.STATES, row, sample, more=more, chance=_chance(text=0.6))
    whole = _read(text, "states", FieldKind.STATES, row, sample)
    stored = sample.values["states"]
    for found, expected in ((first, stored[:3]), (second, stored[3:]), (whole, stored[:5])):
        np.testing.assert_allclose(found, expected, rtol=1e-3)  # type: ignore[arg-type]
    caption = ModalityConfig("m", EmbeddingKind.SEQUENCE, vocabulary=9999, max_length=20)
    for place, number in ((0.1, 0), (0.6, 1)):
        written = {"format": "caption"}
        ids = _read(text, "caption", FieldKind.TEXT, caption, sample, more=written, chance=_chance(text=place))
        assert text.decode(_ids(ids)[:-1]) == sample.values["caption"][number].text
        assert _ids(ids)[-1] == text.end_id


def test_lengths_that_do_not_add_up_are_refused(text: TextTokenizer) -> None:
    sample = DataSample("s", {**shape_sample(4).values, "state_lengths": np.array([3, 5], np.int32)})
    row = ModalityConfig("m", EmbeddingKind.SEQUENCE_EMBEDDING, width=6, max_length=5)
    with pytest.raises(TrainingDataInvalid, match="it has 7 rows"):
        _read(text, "states", FieldKind.STATES, row, sample, more={"lengths": "state_lengths"})


def test_formats_become_chunks(text: TextTokenizer) -> None:
    sample = shape_sample(5)
    row = ModalityConfig("m", EmbeddingKind.SEQUENCE, vocabulary=9999, max_length=40)
    palette = _read(text, "color_palette", FieldKind.TEXT, row, sample, more={"format": "color_palette"})
    colour = sample.values["color_palette"][0][0]
    assert _ids(palette) == [1204 + 1, *(204 + int(value) for value in colour), text.end_id]
    boxes = _read(text, "bounding_boxes", FieldKind.TEXT, row, sample, more={"format": "det"})
    assert text.decode(_ids(boxes)).endswith(f"{sample.values['bounding_boxes'][0].label} [EOS]")
    metadata = _read(text, "metadata", FieldKind.TEXT, row, sample, more={"format": "metadata"})
    assert isinstance(metadata, list)
    assert sorted(map(len, metadata)) == [1, 2, 2, 2]
    assert (1204, 205) in metadata  # original_width 32


def test_pairs_of_metadata_are_shuffled(text: TextTokenizer) -> None:
    row = ModalityConfig("m", EmbeddingKind.SEQUENCE, vocabulary=9999, max_length=40)
    orders = set()
    for seed in range(12):
        chance = Chance(np.random.default_rng(seed), 0.0, 0.0)
        read = _read(text, "metadata", FieldKind.TEXT, row, shape_sample(5), more={"format": "metadata"}, chance=chance)
        orders.add(tuple(_ids(read)))
    assert len(orders) > 3


def test_ids_beyond_the_modalitys_vocabulary_are_refused(text: TextTokenizer) -> None:
    row = ModalityConfig("m", EmbeddingKind.SEQUENCE, vocabulary=1300, max_length=40)
    with pytest.raises(TrainingDataInvalid, match="from 4213 to 4276, not from 0 to 1299"):
        _read(text, "caption", FieldKind.TEXT, row, shape_sample(5), more={"format": "caption"})
    assert _read(text, "color_palette", FieldKind.TEXT, row, shape_sample(5), more={"format": "color_palette"})


def test_what_a_sample_lacks_is_none(text: TextTokenizer, tmp_path: Path) -> None:
    row = ModalityConfig("m", EmbeddingKind.SEQUENCE, vocabulary=9999, max_length=40)
    bare = DataSample("s", {"caption": ()})
    assert _read(text, "caption", FieldKind.TEXT, row, bare, more={"format": "caption"}) is None
    assert _read(text, "rgb", FieldKind.PICTURE, ModalityConfig("m", PIXELS, (2, 2), 8), bare) is None


def test_of_alternative_fields_one_that_is_there_is_chosen(text: TextTokenizer) -> None:
    settings = TrainedModality.model_construct(key="m", fields=("lines", "edges", "dots"), kind=FieldKind.MAP)
    planned = PlannedModality(settings, ModalityConfig("m", PIXELS, (2, 2), 1, channels=3), 4)
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
        planned = PlannedModality(settings, ModalityConfig("m", PIXELS, (2, 2), 1, channels=3), 4, own=own)
        for share, expected in ((0.2, [1.0, 0.0]), (0.7, [0.0, 1.0])):
            chance = _chance(**{place: share})
            for field in ("edges", "said"):
                found = read_own(planned, field, entry_of("s", sample), chance)
                np.testing.assert_allclose(found, expected)  # type: ignore[arg-type]
            np.testing.assert_allclose(read_own(planned, "lines", entry_of("s", sample), chance), [1, 0])  # type: ignore[arg-type]
        assert read_own(planned, "lines", entry_of("s", DataSample("s", {"edges_pooled": views})), chance) is None
