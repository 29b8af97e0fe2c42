import numpy as np

from anyseek.search.evaluation.aligned import AlignedSet
from anyseek.search.evaluation.heat_map import heat_map
from anyseek.search.evaluation.instruments import Instruments
from anyseek.search.evaluation.matrix import recall_matrix, summary
from tests.search.evaluation.known import NumbersEmbedder, numbers
from tests.search.evaluation.test_baselines import PixelEncoders

GREEN, RED = (20, 140, 70), (190, 40, 40)


def _matrix(*modalities: str, count: int = 24):  # type: ignore[no-untyped-def]
    instruments = Instruments(NumbersEmbedder(), ("main", "other"), PixelEncoders())
    return recall_matrix(instruments, numbers(count, *modalities), None, lambda line: None)


def test_the_summary_has_the_default_rows() -> None:
    table = summary(_matrix("rgb", "depth"))
    assert table.measure == "R@10"
    assert set(table.queries) == set(table.galleries) == {"rgb", "depth"}
    assert all(row.default for row in table.cells.values())
    assert table.value(table.cells["rgb", "rgb"].model) == 1.0
    assert table.value(None) is None


def test_cells_get_darker_with_recall_and_bars_tell_who_is_better() -> None:
    matrix = _matrix("rgb", "caption")
    image = heat_map([matrix], "numbers")
    pixels = np.asarray(image).reshape(-1, 3)
    colours = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
    assert (18, 71, 130) in colours, "recall of 1"
    assert (232, 241, 250) in colours, "recall of 0: words say nothing"
    assert RED in colours, "the encoders find words and pictures of each other, the model does not"
    assert GREEN not in colours


def test_a_wider_matrix_and_more_sets_make_a_larger_picture() -> None:
    first, two = _matrix("rgb", "caption"), _matrix("rgb", "depth", "caption")
    small, large = heat_map([first], "a"), heat_map([first, two], "a")
    assert large.height > small.height + 200
    assert heat_map([first], "a").tobytes() == small.tobytes()


def test_with_labels_the_summary_is_about_others_of_the_same_kind() -> None:
    plain = numbers(6, "rgb")
    labels = tuple(frozenset({str(n % 2)}) for n in range(6))
    instruments = Instruments(NumbersEmbedder(), ("main",), None)
    labelled = AlignedSet("set", plain.keys, plain.samples, labels)
    table = summary(recall_matrix(instruments, labelled, None, lambda line: None))
    row = table.cells["rgb", "rgb"]
    assert table.measure == "mAP"
    assert row.contains_gallery
    assert not table.tells_little(row)
    assert table.value(row.model) == row.model.mean_average_precision.value  # type: ignore[union-attr]
