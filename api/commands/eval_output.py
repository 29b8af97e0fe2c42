"""Text output of `anyseek eval`."""

from collections.abc import Iterator, Sequence

from anyseek.search.evaluation.matrix import Matrix, Row
from anyseek.search.evaluation.measures import Estimate, Scores
from anyseek.search.evaluation.outputs import LOWER_IS_BETTER, Outputs
from anyseek.search.evaluation.queries import CombinedResults

_SHOWN = 10  # of unreadable things


def query_lines(report: CombinedResults) -> Iterator[str]:
    """The table of queries of several parts, compared with their parts alone."""
    width = _width([row.name for row in report.rows])
    yield f"{'query':{width}}{'n':>5}{'items':>7}  {'R@10':24}{'over the best part':28}parts alone"
    for row in report.rows:
        part_recalls = ", ".join(f"{name} {part.value:.3f}" for name, part in row.parts.items())
        counts = f"{row.name:{width}}{row.queries:5}{row.gallery:7}"
        yield f"{counts}  {_interval(row.together):24}{_interval(row.gain, '+'):28}{part_recalls}"
    if report.palette is not None:
        yield f"a palette of five colours alone: {_interval(report.palette.together)} of {report.palette.queries} emoji"


def _interval(value: Estimate, sign: str = "") -> str:
    return f"{value.value:{sign}.3f} ({value.low:{sign}.3f} to {value.high:{sign}.3f})"


def output_lines(outputs: Outputs) -> Iterator[str]:
    """The table of predicted modalities."""
    yield f"{outputs.name}: predicted from {' + '.join(outputs.given)} alone"
    yield f"{'modality':18}{'measure':18}{'things':>7}{'value':>10}  95% interval"
    for row in outputs.rows:
        value, better = row.value, "  (lower is better)" if row.measure in LOWER_IS_BETTER else ""
        interval = f"{value.low:.3f} to {value.high:.3f}"
        yield f"{row.modality:18}{row.measure:18}{row.things:7,}{value.value:10.3f}  {interval:16}{better}".rstrip()
    yield from _unreadable(outputs.unreadable)


def matrix_lines(matrix: Matrix) -> Iterator[str]:
    """A summary of the default spaces, then all rows of the matrix, and what was left out."""
    labelled = any(row.model.mean_average_precision for row in matrix.rows)
    yield f"{matrix.name}: {matrix.things:,} things"
    yield from _summary(matrix, labelled)
    yield ""
    width = _width([row.query for row in matrix.rows])
    items = _width([row.gallery for row in matrix.rows])
    header = f"{'R@1':>5}{'R@5':>6}{'R@10':>6} {'(95%)':14}{'median':>8}" + (f"{'mAP':>6}" if labelled else "")
    yield f"{'query':{width}}{'items':{items}}{'n':>6}{header}  {'encoders':14}space"
    for row in matrix.rows:
        model = row.model
        interval = f"({model.at_10.low:.2f}-{model.at_10.high:.2f})"
        numbers = f"{model.at_1.value:5.2f}{model.at_5.value:6.2f}{model.at_10.value:6.2f} {interval:14}"
        numbers += f"{model.median_rank.value:8.1f}" + (f"{_precision(model):>6}" if labelled else "")
        space = f"{row.space}{' *' if row.default else ''}{' (own)' if row.contains_gallery else ''}"
        encoders = _encoders(row.encoders, labelled)
        yield f"{row.query:{width}}{row.gallery:{items}}{model.queries:6}{numbers}  {encoders:14}{space}"
    measure_names = "R@10 and mAP" if labelled else "R@1 and R@10"
    yield f"\n*: the space that the service uses. Encoders alone: {measure_names}."
    for modality, reason in matrix.left_out.items():
        missing = "is not all there" if any(modality in row.modalities for row in matrix.rows) else "has no row"
        yield f"{modality} {missing}: {reason}"
    yield from matrix.notes
    yield from _unreadable(matrix.unreadable)


def _summary(matrix: Matrix, labelled: bool) -> Iterator[str]:
    """R@10, or mAP if things have labels, by query and gallery.

    With labels, average precision says more than recall, because an item's own file finds that item easily.
    """
    cells = {(row.query, row.gallery): row for row in matrix.rows if row.default}
    queries = list(dict.fromkeys(query for query, _ in cells))
    galleries = list(dict.fromkeys(gallery for _, gallery in cells))
    width = _width(queries)
    own = "" if labelled else " ((own): the query is the very file that the item is indexed by)"
    yield f"\n{'mAP' if labelled else 'R@10'} by default{own}"
    yield " " * width + "".join(f"{gallery:>16}" for gallery in galleries)
    for query in queries:
        numbers = [_cell(cells.get((query, gallery)), labelled) for gallery in galleries]
        yield f"{query:{width}}" + "".join(f"{number:>16}" for number in numbers)


def _cell(row: Row | None, labelled: bool) -> str:
    if row is None:
        return "-"
    if labelled:
        return _precision(row.model)
    return f"{row.model.at_10.value:.2f}{' (own)' if row.contains_gallery else ''}"


def _encoders(scores: Scores | None, labelled: bool) -> str:
    if scores is None:
        return "-"
    if labelled:
        return f"{scores.at_10.value:.2f}  {_precision(scores)}"
    return f"{scores.at_1.value:.2f}  {scores.at_10.value:.2f}"


def _precision(scores: Scores) -> str:
    return f"{scores.mean_average_precision.value:.2f}" if scores.mean_average_precision else "-"


def _unreadable(reasons: Sequence[str]) -> Iterator[str]:
    for reason in reasons[:_SHOWN]:
        yield f"left out: {reason}"
    if len(reasons) > _SHOWN:
        yield f"and {len(reasons) - _SHOWN:,} more could not be read"


def _width(names: Sequence[str]) -> int:
    return max((len(name) for name in names), default=0) + 2
