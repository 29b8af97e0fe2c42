"""The small transfer suite: what its sets ask, and the rule that the bundled model is measured by."""

import os
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import Art, split_of
from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.encoders.baselines import Encoders, look_once
from anyseek.model.errors import WeightsMissing
from anyseek.model.library.loading import BUNDLED, load_embedder
from anyseek.model.seam import Regions
from anyseek.search.evaluation import small_transfer
from anyseek.search.evaluation.instruments import Instruments
from anyseek.search.evaluation.small_transfer import small_transfer_sets
from anyseek.search.evaluation.transfer import FEWEST, TransferRow, measure_transfer
from anyseek.search.evaluation.transfer_sets import TransferSet

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
ROWS = (
    ("photos", "title"),
    ("photos", "edges"),
    ("rooms", "depth"),
    ("rooms", "semseg"),
    ("rooms", "edges"),
    ("openmoji", "line"),
)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72"><g id="color"><circle r="40" fill="#ff0000"/></g>'
    '<g id="line"><circle r="40" fill="none" stroke="black" stroke-width="4"/></g></svg>'
)


@pytest.fixture
def sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, TransferSet]:
    """Six pictures of each source; OpenMoji's drawings are made up."""
    art = [Art("openmoji", f"{0x1F300 + n:X}", SVG) for n in range(90)]
    monkeypatch.setattr(small_transfer, "fetch_openmoji", lambda downloads: art)
    return {found.source: found for found in small_transfer_sets(tmp_path, 6)}


def test_every_picture_is_asked_for_in_each_way(sets: dict[str, TransferSet]) -> None:
    asked = [(source, queries.name) for source, found in sets.items() for queries in found.aligned.queries]
    assert asked == list(ROWS)
    for found in sets.values():
        assert len(found.aligned.samples) == len(found.aligned.keys) == 6
        for queries in found.aligned.queries:
            assert queries.own == found.aligned.keys
            assert [set(queries.samples[n].values) for n in range(6)] == [{queries.modality}] * 6


def test_emoji_are_unseen_ones_and_their_lines_have_no_colours(sets: dict[str, TransferSet]) -> None:
    aligned = sets["openmoji"].aligned
    assert all(split_of(key) is Split.TEST for key in aligned.keys)
    picture = np.asarray(aligned.samples[0].values["rgb"])
    line = np.asarray(aligned.queries[0].samples[0].values["canny_edge"])
    assert (picture == (255, 0, 0)).all(axis=2).any()
    assert line.shape == picture.shape[:2]
    assert line[2, 2] == 255, "the disc is filled"


def test_maps_of_rooms_are_those_of_their_pictures(sets: dict[str, TransferSet]) -> None:
    aligned = sets["rooms"].aligned
    depth, semseg, edges = (queries.samples[3].values[queries.modality] for queries in aligned.queries)
    picture = np.asarray(aligned.samples[3].values["rgb"])
    assert isinstance(semseg, Regions)
    assert np.shape(depth) == semseg.ids.shape == np.shape(edges) == picture.shape[:2]
    assert semseg.classes
    assert 0.01 < np.mean(np.asarray(edges) > 0) < 0.2


@pytest.fixture(scope="module", params=BUNDLED)
def rows(request: pytest.FixtureRequest) -> dict[tuple[str, str], TransferRow]:
    """The suite as `anyseek eval --suite transfer --model` measures it."""
    try:
        embedder, encoders, sets = load_embedder(request.param, HOME), Encoders(HOME), small_transfer_sets(HOME)
    except (WeightsMissing, DownloadFailed) as error:
        pytest.skip(str(error))
    look_once(embedder, encoders)
    found = measure_transfer(Instruments(embedder, tuple(embedder.spaces), encoders), sets, lambda line: None)
    assert not found.left_out
    return {(row.source, row.query): row for row in found.rows}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_the_bundled_model_is_not_worse_than_its_encoders(
    rows: dict[tuple[str, str], TransferRow], row: tuple[str, str]
) -> None:
    """The rule: the lower 95% bound of the gain over the encoders alone is at least -0.01 in each row."""
    found = rows[row]
    assert found.model.queries >= FEWEST, "too few to judge"
    assert found.gain is not None
    assert found.holds, f"{found.gain} at {found.model.at_10.value:.3f}"
