"""Every VectorIndex does what the NumPy one does, operation by operation."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyseek.model.seam import FloatArray
from anyseek.search.spaces.local.snapshots import VectorIndex
from anyseek.search.spaces.qdrant.backend import QdrantIndex, Tenant, connect
from anyseek.search.spaces.shared import IndexUnreachable
from tests.contracts.vector_indexes import FAISS, MEMORY, STORES, Make
from tests.search.memory_index import MemoryIndex

DIMENSION = 8
IDS = st.integers(1, 12)


def exact_unit(code: int) -> FloatArray:
    """One of the vectors with four entries of ±1/2: products are exact in any order of summing, so ties are ties."""
    rng = np.random.default_rng(code)
    vector = np.zeros(DIMENSION, np.float32)
    vector[rng.permutation(DIMENSION)[:4]] = rng.choice([-0.5, 0.5], 4)
    return vector


def exact_units(codes: list[int]) -> FloatArray:
    return np.stack([exact_unit(code) for code in codes])


VECTORS = st.integers(0, 40)


@dataclass(frozen=True)
class Step:
    """One operation: its name and what it is done with."""

    name: str
    ids: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()
    k: int = 1
    allowed: tuple[int, ...] | None = None


def upserts() -> st.SearchStrategy[Step]:
    pairs = st.lists(st.tuples(IDS, VECTORS), min_size=1, max_size=6, unique_by=lambda pair: pair[0])
    return pairs.map(lambda p: Step("upsert", tuple(i for i, _ in p), tuple(c for _, c in p)))


STEPS = st.lists(
    st.one_of(
        upserts(),
        st.lists(IDS, max_size=4, unique=True).map(lambda ids: Step("delete", tuple(ids))),
        st.builds(
            lambda codes, k, allowed: Step("search", codes=tuple(codes), k=k, allowed=allowed),
            st.lists(VECTORS, min_size=1, max_size=3),
            st.integers(1, 15),
            st.none() | st.lists(st.integers(1, 14), unique=True).map(sorted).map(tuple),
        ),
        st.just(Step("snapshot")),
        st.just(Step("restore")),
    ),
    min_size=1,
    max_size=12,
)


class Run:
    """Applies the same steps to an index and to the oracle and compares what they answer."""

    def __init__(self, make: Make, folder: Path) -> None:
        self.pair: tuple[VectorIndex, VectorIndex] = (make(DIMENSION), MemoryIndex(DIMENSION))
        self.folder = folder
        self.snapshots = 0

    def apply(self, step: Step) -> None:
        ids = np.array(step.ids, np.int64)
        if step.name in ("snapshot", "restore") and not all(hasattr(index, "restore") for index in self.pair):
            return
        if step.name == "search":
            self.compare(exact_units(list(step.codes)), step.k, step.allowed)
        elif step.name == "restore" and not self.snapshots:
            return
        else:
            for side, index in enumerate(self.pair):
                self.change(index, side, step, ids)
        self.snapshots += step.name == "snapshot"

    def change(self, index: VectorIndex, side: int, step: Step, ids: np.ndarray) -> None:
        if step.name == "upsert":
            index.upsert(ids, exact_units(list(step.codes)))
        elif step.name == "delete":
            index.delete(ids)
        elif step.name == "snapshot":
            index.freeze().write(self.folder / f"{side}-{self.snapshots}")
        elif step.name == "restore":
            index.restore(self.folder / f"{side}-{self.snapshots - 1}")

    def compare(self, queries: FloatArray, k: int, allowed: tuple[int, ...] | None = None) -> None:
        index, oracle = self.pair
        assert index.count() == oracle.count()
        only = None if allowed is None else np.array(allowed, np.int64)
        found, expected = index.search(queries, k, only), oracle.search(queries, k, only)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert found.scores.dtype == np.float32
        assert found.ids.dtype == np.int64

    def compare_contents(self) -> None:
        every = np.arange(1, 14, dtype=np.int64)
        for ours, expected in zip(self.pair[0].vectors(every), self.pair[1].vectors(every), strict=True):
            np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("make", [FAISS, *STORES])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_agrees_with_the_oracle_after_every_operation(make: Make, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(make, Path(folder))
        for step in steps:
            run.apply(step)
            run.compare(exact_units([0, 1]), 4)
        run.compare_contents()


@pytest.fixture(params=[MEMORY, FAISS, *STORES])
def index(request: pytest.FixtureRequest) -> VectorIndex:
    make: Make = request.param
    return make(DIMENSION)


@pytest.fixture(params=[MEMORY, FAISS])
def local_index(request: pytest.FixtureRequest) -> VectorIndex:
    """One of this process, of which there are snapshots."""
    make: Make = request.param
    return make(DIMENSION)


def test_equal_scores_are_ordered_by_id_even_at_the_last_place(index: VectorIndex) -> None:
    ids = np.random.default_rng(0).permutation(np.arange(1, 301))
    index.upsert(ids, np.repeat(exact_units([1]), 300, axis=0))
    assert index.search(exact_units([1]), 10).ids.tolist() == [list(range(1, 11))]
    assert index.search(exact_units([1] * 30), 10).ids.tolist() == [list(range(1, 11))] * 30


def test_a_vector_scores_the_same_alone_and_in_a_batch(index: VectorIndex) -> None:
    rows = np.random.default_rng(1).standard_normal((90, DIMENSION)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index.upsert(np.arange(1, 61), rows[:60])
    together = index.search(rows[60:], 7)
    for row in range(30):
        alone = index.search(rows[60 + row : 61 + row], 7)
        np.testing.assert_array_equal(alone.ids[0], together.ids[row])
        np.testing.assert_allclose(alone.scores[0], together.scores[row], atol=1e-6)


def test_agrees_with_exact_cosines_of_real_valued_vectors(index: VectorIndex) -> None:
    rows = np.random.default_rng(2).standard_normal((220, DIMENSION)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index.upsert(np.arange(1, 201), rows[:200])
    found = index.search(rows[200:], 5)
    exact = rows[200:].astype(np.float64) @ rows[:200].astype(np.float64).T
    np.testing.assert_array_equal(found.ids, np.argsort(-exact, axis=1)[:, :5] + 1)
    np.testing.assert_allclose(found.scores, -np.sort(-exact, axis=1)[:, :5], atol=1e-6)


def test_only_what_is_allowed_is_found_whatever_else_is_nearer(index: VectorIndex) -> None:
    ids = np.arange(1, 301)
    index.upsert(ids, exact_units(ids.tolist()))
    allowed = np.array([7, 12, 290, 5_000])
    found = index.search(exact_units([100, 7]), 10, allowed)
    assert found.ids.shape == (2, 3)
    assert sorted(found.ids[0].tolist()) == [7, 12, 290]
    assert found.ids[1, 0] == 7
    assert index.search(exact_units([7]), 1, np.empty(0, np.int64)).ids.shape == (1, 0)


def test_a_restored_index_can_be_changed_and_its_snapshot_cannot(local_index: VectorIndex, tmp_path: Path) -> None:
    local_index.upsert(np.arange(1, 6), exact_units([1, 2, 3, 4, 5]))
    local_index.freeze().write(tmp_path / "snapshot")
    before = (tmp_path / "snapshot").read_bytes()
    local_index.restore(tmp_path / "snapshot")
    local_index.delete(np.array([1]))
    local_index.upsert(np.array([9, 2]), exact_units([6, 7]))
    assert local_index.search(exact_units([6]), 9).ids[0, 0] == 9
    assert local_index.count() == 5
    assert (tmp_path / "snapshot").read_bytes() == before
    local_index.restore(tmp_path / "snapshot")
    (tmp_path / "snapshot").unlink()  # it may go while it is in use
    assert local_index.vectors(np.arange(1, 10))[0].tolist() == [1, 2, 3, 4, 5]
    assert local_index.search(exact_units([3]), 1).ids.tolist() == [[3]]
    local_index.delete(np.array([3]))
    assert local_index.count() == 4


def test_qdrant_keeps_its_vectors_in_a_folder(tmp_path: Path) -> None:
    first = connect(str(tmp_path / "qdrant"))
    stored = QdrantIndex(DIMENSION, first, "things")
    stored.create()
    stored.upsert(np.array([4]), exact_units([1]))
    with pytest.raises(IndexUnreachable, match="another process"):
        connect(str(tmp_path / "qdrant"))
    first.close()
    second = connect(str(tmp_path / "qdrant"))
    assert QdrantIndex(DIMENSION, second, "things").search(exact_units([1]), 3).ids.tolist() == [[4]]
    second.close()


def test_tenants_of_one_qdrant_collection_do_not_see_each_other() -> None:
    client = connect(":memory:")
    first, other = (QdrantIndex(DIMENSION, client, "things", Tenant(str(n), n << 60)) for n in (0, 3))
    first.create()
    first.upsert(np.array([1, 2]), exact_units([1, 2]))
    other.upsert(np.array([2]), exact_units([3]))
    assert other.search(exact_units([1]), 5).ids.tolist() == [[2]]
    assert other.vectors(np.array([1, 2]))[0].tolist() == [2]
    other.clear()
    assert (first.count(), other.count()) == (2, 0)


def test_a_qdrant_that_is_not_there_is_named() -> None:
    index = QdrantIndex(DIMENSION, connect("http://127.0.0.1:9"), "things")
    with pytest.raises(IndexUnreachable, match="ANYSEEK_QDRANT_URL"):
        index.count()
