"""A recall matrix in short: for each kind of query and of item what the service does by default."""

from dataclasses import dataclass

from search.evaluation.cells import Row
from search.evaluation.matrix import Matrix
from search.evaluation.measures import Scores

AVERAGE_PRECISION = "mAP"


@dataclass(frozen=True)
class Summary:
    """A table of one matrix: `measure` names the numbers, `cells` are the default rows by query and gallery."""

    measure: str
    queries: tuple[str, ...]
    galleries: tuple[str, ...]
    cells: dict[tuple[str, str], Row]

    def tells_little(self, row: Row) -> bool:
        """Whether the number is about finding the query's own file; average precision is about others of its kind."""
        return row.contains_gallery and self.measure != AVERAGE_PRECISION

    def value(self, scores: Scores | None) -> float | None:
        """The number that the table shows of some scores."""
        if scores is None:
            return None
        if self.measure == AVERAGE_PRECISION:
            return scores.mean_average_precision.value if scores.mean_average_precision else None
        return scores.at_10.value


def summary(matrix: Matrix) -> Summary:
    """R@10, or mAP where things carry labels; queries and galleries in the order in which the matrix has them."""
    cells = {(row.query, row.gallery): row for row in matrix.rows if row.default}
    labelled = any(row.model.mean_average_precision for row in cells.values())
    queries = tuple(dict.fromkeys(query for query, _ in cells))
    galleries = tuple(dict.fromkeys(gallery for _, gallery in cells))
    return Summary(AVERAGE_PRECISION if labelled else "R@10", queries, galleries, cells)
