"""The transfer suite: which photos each source's queries ask for, and how a model is set beside its encoders."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import FloatArray
from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.instruments import Instruments
from anyseek.search.evaluation.measures import Estimate
from anyseek.search.evaluation.transfer import ALL, TransferRow, measure_transfer
from anyseek.search.evaluation.transfer_sets import EVERY, transfer_sets
from tests.model.data.sources.packs_kit import about, encoded, write_shard

COUNT = 12


def shape(number: int, mode: str = "RGB") -> np.ndarray:
    """A box that lies somewhere else for each number."""
    image = Image.new(mode, (48, 48), "white")
    ImageDraw.Draw(image).rectangle((3 * number, 30 - 2 * number, 3 * number + 12, 44), "black")
    return np.asarray(image)


def photo(number: int) -> dict[str, bytes]:
    return {"webp": encoded(shape(number), "WEBP")}


def split(number: int) -> str:
    return "test" if number % 2 else "train"


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five packs, small; half of each is of the test split."""
    root = tmp_path_factory.mktemp("packs")
    numbers = range(COUNT)
    for name, sources in (("captions", ("flickr8k", "coco")), ("depth", ("nyu-depth-v2",))):
        samples = []
        for number in numbers:
            said = about(id=str(number), split=split(number), source=sources[number % 4 // 2 % len(sources)])
            said |= {"captions": [f"box {number}", f"a box called {number}"]}
            depth = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48) + 500 * (number + 1)
            samples.append((said, {**photo(number), "depth.png": encoded(depth)}))
        write_shard(root / name / f"{name}-research-000000.tar", samples)
    (root / "depth" / "classes.json").write_text("{}")
    sketches = [{"file": f"{n}.png", "id": str(n)} for n in range(2)]
    write_shard(
        root / "sketches" / "sketches-research-000000.tar",
        [
            (
                about(source="sketchy", id=str(n), label=f"box {n % 3}", split=split(n), sketches=sketches),
                {**photo(n), **{f"{m}.png": encoded(shape(n, "L")) for m in range(2)}},
            )
            for n in numbers
        ],
    )
    strokes = [[[0, 100, 100, 0, 0], [0, 0, 100, 100, 0]]]
    write_shard(
        root / "sketches" / "sketches-open-000000.tar",
        [(about(source="quickdraw", label=f"box {n % 4}", split=split(n), drawing=strokes), {}) for n in numbers],
    )
    said = [about(source="caltech101", label="cup", split=split(n)) for n in numbers]
    write_shard(root / "photos" / "photos-000000.tar", [(one, photo(n)) for n, one in enumerate(said)])
    return root


class ShapeEncoders:
    """Encoders whose picture vectors are the pictures themselves, very small; words say nothing."""

    fingerprint = "shapes"

    def pictures(self, pictures: Sequence[np.ndarray]) -> tuple[FloatArray, FloatArray]:
        small = [np.asarray(Image.fromarray(one).convert("L").resize((8, 8)), np.float32).ravel() for one in pictures]
        vectors = np.stack(small)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), vectors

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        return np.ones((len(texts), 4), np.float32)

    def conse(self, logits: FloatArray) -> FloatArray:
        return np.ones((len(logits), 4), np.float32)


def test_each_source_is_a_set_and_only_left_out_ones_ask_whole(packs: Path) -> None:
    sets = {one.source: one for one in transfer_sets(packs, ["sketchy", "nyu-depth-v2"], None)}
    assert list(sets) == ["captions", "sketchy", "quickdraw", "nyu-depth-v2", "caltech101"]
    assert [name for name, one in sets.items() if one.whole] == ["sketchy", "nyu-depth-v2"]
    counts = {
        name: (len(one.aligned.keys), *(len(asked.samples) for asked in one.aligned.queries))
        for name, one in sets.items()
    }
    assert counts == {
        "captions": (6, 6, 6),  # the test split's photos, each with two captions, of two sources
        "sketchy": (12, 24),
        "quickdraw": (4, 3),  # test drawings are of the boxes 1 and 3, and nobody has a photo of box 3
        "nyu-depth-v2": (12, 12, 12),
        "caltech101": (6, 6),
    }


def test_whole_sources_ask_with_all_of_their_splits(packs: Path) -> None:
    few, every = ({one.source: one for one in transfer_sets(packs, out, None)} for out in ((), (EVERY,)))
    assert len(few["sketchy"].aligned.queries[0].samples) == 12
    assert len(every["sketchy"].aligned.queries[0].samples) == 24
    assert few["sketchy"].aligned.keys == every["sketchy"].aligned.keys


def test_a_sketch_asks_for_its_photo_and_a_drawing_for_its_class(packs: Path) -> None:
    sets = {one.source: one for one in transfer_sets(packs, (EVERY,), None)}
    (sketches,) = sets["sketchy"].aligned.queries
    assert set(sketches.own) == set(sets["sketchy"].aligned.keys)
    (drawings,) = sets["quickdraw"].aligned.queries
    assert set(drawings.own) == {None}
    assert (
        set().union(*drawings.labels) == {"box 0", "box 1", "box 2"} == set().union(*sets["quickdraw"].aligned.labels)
    )
    assert sets["quickdraw"].by_label


@pytest.fixture(scope="module")
def rows(packs: Path) -> dict[tuple[str, str], TransferRow]:
    instruments = Instruments(HashingEmbedder(), ("hashing",), ShapeEncoders())
    found = measure_transfer(instruments, transfer_sets(packs, (EVERY,), None), lambda line: None)
    assert found.mean("model") is not None
    refused = [f"nyu-depth-v2: {name}: the model hashing does not take it" for name in ("depth", "semseg")]
    assert list(found.left_out) == refused
    return {(row.source, row.query): row for row in found.rows}


def test_every_kind_of_query_has_a_row_and_captions_one_of_all(rows: dict[tuple[str, str], TransferRow]) -> None:
    assert list(rows) == [
        ("captions", "coco captions"),
        ("captions", "flickr8k captions"),
        ("captions", ALL),
        ("sketchy", "sketch"),
        ("quickdraw", "drawing"),
        ("caltech101", "edges"),
    ]
    every = rows["captions", ALL]
    assert every.model.queries == 12
    assert every.model.gallery == 6
    assert rows["quickdraw", "drawing"].measure == "mean_average_precision"
    assert rows["sketchy", "sketch"].measure == "at_10"


def test_the_gain_is_that_over_the_encoders_alone(rows: dict[tuple[str, str], TransferRow]) -> None:
    for row in rows.values():
        assert row.encoders is not None
        assert row.gain is not None
        model, encoders = row.value(row.model), row.value(row.encoders)
        assert model is not None
        assert encoders is not None
        assert row.gain.value == pytest.approx(model - encoders)
        assert row.gain.low <= row.gain.value <= row.gain.high
        assert row.holds == (row.gain.low >= -0.01 or row.model.queries < 20)
    words = rows["captions", ALL]
    assert words.encoders is not None
    assert words.encoders.at_1.value == 0, "words that say nothing find nothing"
    shapes = rows["sketchy", "sketch"].encoders
    assert shapes is not None
    assert shapes.at_1.value > 0.9, "the encoders compare a drawing with photos as pictures"


def test_a_row_of_few_queries_is_not_judged(rows: dict[tuple[str, str], TransferRow]) -> None:
    row = rows["sketchy", "sketch"]
    worse = replace(row, gain=Estimate(-0.1, -0.2, 0.0))
    assert not worse.holds
    assert replace(worse, model=replace(row.model, queries=19)).holds


def test_a_folder_without_packs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAligned, match="none of the folders captions, sketches"):
        list(transfer_sets(tmp_path, (), None))
