"""Mutants: lines that measurements and filters depend on, each with a change that its tests must detect."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A change of `file`: `original`, which it has exactly once, becomes `mutated`, and then `tests` must fail."""

    name: str
    file: str
    original: str
    mutated: str
    tests: str


MUTANTS = (
    Mutant(
        "a filter does not hold for pending vectors",
        "search/spaces/local/faiss.py",
        "            rows = rows[isin_sorted(ids, allowed)]\n",
        "            pass\n",
        "tests/contracts/test_approximate_indexes.py",
    ),
    Mutant(
        "ties favour the query in ranks",
        "search/answers/ranks.py",
        "cosines >= best[:, None]",
        "cosines > best[:, None]",
        "tests/search/evaluation/test_measures.py",
    ),
    Mutant(
        "ties favour the query in average precision",
        "search/evaluation/measures.py",
        "np.lexsort((shared, -cosines), axis=1)",
        "np.lexsort((~shared, -cosines), axis=1)",
        "tests/search/evaluation/test_measures.py",
    ),
    Mutant(
        "the encoders' queries are not centred",
        "search/evaluation/matrix.py",
        "queries.append(centre(part_queries, mean))",
        "queries.append(part_queries)",
        "tests/search/evaluation/test_matrix.py",
    ),
    Mutant(
        "the intervals of sources resample captions",
        "benchmarks/sources/measuring.py",
        "np.unique(units, return_inverse=True)[1]",
        "np.arange(len(units))",
        "tests/benchmarks/test_sources.py",
    ),
    Mutant(
        "the gain of sources is over the worse baseline",
        "benchmarks/sources/measuring.py",
        "best = max(untrained.values(), key=np.mean)",
        "best = min(untrained.values(), key=np.mean)",
        "tests/benchmarks/test_sources.py",
    ),
    Mutant(
        "a title of several photos is a query of sources",
        "benchmarks/sources/sets.py",
        "photos[_plain(text)] == 1",
        "photos[_plain(text)] >= 1",
        "tests/benchmarks/test_sources.py",
    ),
    Mutant(
        "pairs of other splits count in sources",
        "benchmarks/sources/sets.py",
        "test, others = queries(Split.TEST), queries(Split.VAL)",
        "test, others = queries(Split.VAL), queries(Split.TEST)",
        "tests/benchmarks/test_sources.py",
    ),
    Mutant(
        "the gain of combined parts is not paired with the best part",
        "search/evaluation/queries.py",
        "estimate(recalls[combined] - best, np.mean)",
        "estimate(recalls[combined] - np.sort(best), np.mean)",
        "tests/search/evaluation/test_queries.py",
    ),
    Mutant(
        "emoji of the training split are measured",
        "search/evaluation/queries.py",
        "split_of(key) is Split.TEST",
        "split_of(key) is not Split.TEST",
        "tests/search/evaluation/test_queries.py",
    ),
    Mutant(
        "a mean of queries is tested on the queries it was fitted to",
        "search/query/means.py",
        "fit_mean(space, modality, queries[~held_out])",
        "fit_mean(space, modality, queries[held_out])",
        "tests/search/query/test_means.py",
    ),
    Mutant(
        "an item's scores with other names are not subtracted",
        "search/confidence/relevance.py",
        "(scores - means) / deviations",
        "scores / deviations",
        "tests/search/confidence/test_relevance.py",
    ),
    Mutant(
        "the collection's median is not subtracted",
        "search/confidence/relevance.py",
        "[z, z - np.median(others)]",
        "[z, z]",
        "tests/search/confidence/test_relevance.py",
    ),
    Mutant(
        "words beside a map have no weight",
        "model/towers/space.py",
        "{CAPTION: 0.15}",
        "{CAPTION: 0.0}",
        "tests/model/towers/test_space.py",
    ),
)
