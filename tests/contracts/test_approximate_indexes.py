"""Graphs and lists find at least 95 of 100 nearest, and are exact in all that must be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.seam import FloatArray
from anyseek.search.spaces.base import Neighbours
from anyseek.search.spaces.local import candidates
from anyseek.search.spaces.local import faiss as faiss_index
from anyseek.search.spaces.local.candidates import GpuMissing, IndexState, Kind
from anyseek.search.spaces.local.faiss import FaissIndex
from tests.search.memory_index import MemoryIndex

DIMENSION = 32
COUNT = 3_000
IDS = np.arange(1, COUNT + 1) * 3
RECALL = 0.95


def clustered(count: int, seed: int) -> FloatArray:
    """Unit vectors around 30 centres, which are the same for all seeds."""
    centres = np.random.default_rng(0).standard_normal((30, DIMENSION))
    rng = np.random.default_rng(seed)
    rows = centres[rng.integers(0, 30, count)] + 0.7 * rng.standard_normal((count, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


GALLERY, QUERIES = clustered(COUNT, 1), clustered(40, 2)


def renewed(index: FaissIndex, meanwhile: Callable[[], None] = lambda: None) -> FaissIndex:
    """The index after everything that would make it better was built; `meanwhile` something else happens to it."""
    build = index.renewal(thorough=True)
    move_into_place = build()
    meanwhile()
    move_into_place()
    return index


def recall(found: Neighbours, expected: Neighbours) -> float:
    assert found.ids.shape == expected.ids.shape
    pairs = zip(found.ids.tolist(), expected.ids.tolist(), strict=True)
    return float(np.mean([len(set(ours) & set(theirs)) / len(theirs) for ours, theirs in pairs]))


@pytest.fixture(scope="module", params=[Kind.HNSW, Kind.IVF])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Kind, Path]:
    """A snapshot of an index of each kind over the gallery."""
    index = FaissIndex(DIMENSION, request.param)
    index.upsert(IDS, GALLERY)
    assert index.state.kind is Kind.FLAT
    path = tmp_path_factory.mktemp("built") / "index"
    renewed(index).freeze().write(path)
    return request.param, path


@pytest.fixture
def index(built: tuple[Kind, Path]) -> FaissIndex:
    index = FaissIndex(DIMENSION, built[0])
    index.restore(built[1])
    assert index.state == IndexState(built[0], COUNT, 0, 0, index.state.trained_for)
    return index


@pytest.fixture
def oracle() -> MemoryIndex:
    oracle = MemoryIndex(DIMENSION)
    oracle.upsert(IDS, GALLERY)
    return oracle


@pytest.fixture
def candidates_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few vectors there are, and however many candidates that takes."""
    for kind in (candidates.Hnsw, candidates.Ivf, candidates.Gpu):
        monkeypatch.setattr(kind, "cost", lambda *_: 0.0)


@pytest.mark.usefixtures("candidates_always")
@pytest.mark.parametrize("k", [1, 10, 100])
def test_recall_without_a_filter(index: FaissIndex, oracle: MemoryIndex, k: int) -> None:
    found, expected = index.search(QUERIES, k), oracle.search(QUERIES, k)
    assert recall(found, expected) >= RECALL
    np.testing.assert_allclose(found.scores[:, 0], expected.scores[:, 0], atol=0.02)


@pytest.mark.usefixtures("candidates_always")
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_recall_behind_a_filter_that_has_nothing_to_do_with_the_query(
    index: FaissIndex, oracle: MemoryIndex, share: float
) -> None:
    allowed = np.sort(np.random.default_rng(3).choice(IDS, int(share * COUNT), replace=False))
    found = index.search(QUERIES, 10, allowed)
    assert np.isin(found.ids, allowed).all()
    assert recall(found, oracle.search(QUERIES, 10, allowed)) >= RECALL


@pytest.mark.usefixtures("candidates_always")
def test_a_filter_also_holds_for_vectors_that_wait_to_be_added(index: FaissIndex, oracle: MemoryIndex) -> None:
    pending, nearby = IDS[:1_000] + 1, clustered(1_000, 3)
    for each in (index, oracle):
        each.upsert(pending, nearby)
    assert index.state.pending_count == len(pending)
    allowed = np.sort(np.random.default_rng(4).choice(np.concatenate([IDS, pending]), 2_000, replace=False))
    found = index.search(QUERIES, 10, allowed)
    assert np.isin(found.ids, pending).any()
    assert np.isin(found.ids, allowed).all()
    assert recall(found, oracle.search(QUERIES, 10, allowed)) >= RECALL


@pytest.mark.usefixtures("candidates_always")
@pytest.mark.parametrize("nearest_left_out", [20, 300, 1_500])
def test_recall_behind_a_filter_that_leaves_out_what_is_nearest(
    index: FaissIndex, oracle: MemoryIndex, nearest_left_out: int
) -> None:
    found, expected = [], []
    for query in QUERIES[:10, np.newaxis]:
        order = np.argsort(-(query @ GALLERY.T)[0])
        allowed = np.sort(IDS[order[nearest_left_out:]])
        found.append(index.search(query, 10, allowed))
        expected.append(oracle.search(query, 10, allowed))
    assert np.mean([recall(*pair) for pair in zip(found, expected, strict=True)]) >= RECALL


def test_few_allowed_are_searched_exactly(index: FaissIndex, oracle: MemoryIndex) -> None:
    allowed = np.array([*IDS[:200], 10**12])
    np.testing.assert_array_equal(index.search(QUERIES, 300, allowed).ids, oracle.search(QUERIES, 300, allowed).ids)


def test_many_hits_of_a_small_graph_are_searched_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate of a graph costs as much as many comparisons of vectors that lie in a row."""
    index = FaissIndex(DIMENSION, Kind.HNSW)
    index.upsert(IDS, GALLERY)
    found, find = [], candidates.Hnsw.find
    monkeypatch.setattr(candidates.Hnsw, "find", lambda *asked: found.append(asked) or find(*asked))
    renewed(index).search(QUERIES, 10)
    assert len(found) == 1, "few hits come from the graph"
    exact = MemoryIndex(DIMENSION)
    exact.upsert(IDS, GALLERY)
    np.testing.assert_array_equal(index.search(QUERIES, 50).ids, exact.search(QUERIES, 50).ids)
    assert len(found) == 1


def test_more_than_there_is_gives_all_of_it(index: FaissIndex) -> None:
    assert sorted(index.search(QUERIES[:1], 10 * COUNT).ids[0].tolist()) == IDS.tolist()


@pytest.mark.usefixtures("candidates_always")
def test_what_is_deleted_is_never_found_and_what_is_new_always(index: FaissIndex, oracle: MemoryIndex) -> None:
    for either in (index, oracle):
        either.delete(IDS[:500])
        either.upsert(IDS[500:600], clustered(100, 4))
        either.upsert(np.array([1_000_000]), QUERIES[:1])
    found = index.search(QUERIES, 10)
    assert index.count() == oracle.count() == COUNT - 499
    assert not np.isin(found.ids, IDS[:500]).any()
    assert found.ids[0, 0] == 1_000_000
    assert recall(found, oracle.search(QUERIES, 10)) >= RECALL
    everything = np.arange(1, 3 * COUNT + 3)
    for ours, theirs in zip(index.vectors(everything), oracle.vectors(everything), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("candidates_always")
def test_it_is_built_anew_without_the_dead_while_it_changes(index: FaissIndex, oracle: MemoryIndex) -> None:
    def change() -> None:
        for either in (index, oracle):
            either.delete(IDS[2_000:2_100])
            either.upsert(IDS[2_100:2_200], clustered(100, 5))
            either.upsert(np.array([1_000_000]), QUERIES[:1])

    for either in (index, oracle):
        either.delete(IDS[:1_100])
    assert candidates.needs_rebuild(index.state)
    renewed(index, change)
    assert index.state.deleted_count == 200
    assert index.count() == oracle.count()
    assert recall(index.search(QUERIES, 10), oracle.search(QUERIES, 10)) >= RECALL
    assert index.renewal(thorough=True) is None


@pytest.mark.usefixtures("candidates_always")
def test_rows_that_wait_are_taken_in_beside(
    index: FaissIndex, oracle: MemoryIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "MAX_PENDING", 50)
    new = np.arange(10_001, 10_201)
    for either in (index, oracle):
        either.upsert(new, clustered(200, 6))
    assert index.state.pending_count == 200
    assert recall(index.search(QUERIES, 10), oracle.search(QUERIES, 10)) >= RECALL
    build = index.renewal(thorough=False)
    build()()
    assert index.state.pending_count == 0
    assert recall(index.search(QUERIES, 10), oracle.search(QUERIES, 10)) >= RECALL


def test_what_was_built_for_other_contents_is_thrown_away(index: FaissIndex, built: tuple[Kind, Path]) -> None:
    index.delete(IDS[:1_100])
    renewed(index, lambda: index.restore(built[1]))
    assert index.count() == COUNT


def test_a_snapshot_keeps_the_dead_dead_and_stays_as_it_is(index: FaissIndex, tmp_path: Path) -> None:
    index.delete(IDS[:5])
    index.freeze().write(tmp_path / "snapshot")
    written = (tmp_path / "snapshot").read_bytes()
    other = FaissIndex(DIMENSION)
    other.restore(tmp_path / "snapshot")
    assert other.count() == COUNT - 5
    np.testing.assert_array_equal(other.search(QUERIES, 10).ids, index.search(QUERIES, 10).ids)
    other.upsert(IDS[:1], GALLERY[:1])
    assert other.search(GALLERY[:1], 1).ids[0, 0] == IDS[0]
    assert (tmp_path / "snapshot").read_bytes() == written


@pytest.mark.parametrize("kind", [Kind.HNSW, Kind.IVF])
def test_training_is_the_same_each_time(kind: Kind) -> None:
    found = []
    for _ in range(2):
        index = FaissIndex(DIMENSION, kind)
        index.upsert(IDS, GALLERY)
        found.append(renewed(index).search(QUERIES, 10))
    if kind is Kind.IVF:
        np.testing.assert_array_equal(found[0].ids, found[1].ids)
    assert recall(*found) >= RECALL


def test_the_kind_goes_by_size_and_back_only_well_below() -> None:
    sizes = (20_000, 20_001, 200_001, 150_000, 99_999, 15_000, 9_999)
    chosen, held = [], Kind.FLAT
    for living in sizes:
        held = candidates.suitable_kind(None, living, held)
        chosen.append(held.value)
    assert chosen == ["flat", "hnsw", "ivf", "ivf", "hnsw", "hnsw", "flat"]
    assert candidates.suitable_kind(Kind.IVF, 999, Kind.FLAT) is Kind.FLAT
    assert candidates.suitable_kind(Kind.IVF, 1_000, Kind.FLAT) is Kind.IVF
    assert candidates.suitable_kind(Kind.FLAT, 10**7, Kind.IVF) is Kind.FLAT


def test_a_flat_index_drops_its_dead_rows_by_itself() -> None:
    index = FaissIndex(4)
    for _ in range(60):
        index.upsert(np.arange(1, 21), np.eye(4, dtype=np.float32)[np.arange(20) % 4])
    assert index.state.deleted_count == 59 * 20
    build = index.renewal(thorough=False)
    build()()
    assert index.state == IndexState(Kind.FLAT, 20, 0, 0, 20)
    assert index.search(np.eye(4, dtype=np.float32)[:1], 2).ids.tolist() == [[1, 5]]


def test_a_missing_gpu_is_named() -> None:
    import faiss

    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus():
        pytest.skip("there is a GPU")
    with pytest.raises(GpuMissing, match="ANYSEEK_INDEX_DEVICE=cpu"):
        FaissIndex(4, Kind.GPU)


@pytest.mark.usefixtures("candidates_always")
def test_a_gpu_finds_the_nearest(oracle: MemoryIndex) -> None:
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        pytest.skip("there is no GPU that FAISS can use")
    index = FaissIndex(DIMENSION, Kind.GPU)
    index.upsert(IDS, GALLERY)
    build = index._rebuilding(Kind.GPU)
    build()()
    index.delete(IDS[:100])
    oracle.delete(IDS[:100])
    assert recall(index.search(QUERIES, 10), oracle.search(QUERIES, 10)) >= RECALL
