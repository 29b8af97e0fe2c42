"""What `anyseek eval` prints for people."""

from collections.abc import Iterator, Sequence

from anyseek.search.evaluation.cells import Row
from anyseek.search.evaluation.combined_queries import Combined
from anyseek.search.evaluation.emoji_suite import Row as EmojiRow
from anyseek.search.evaluation.instruments import Compare, Comparison
from anyseek.search.evaluation.matrix import Ceiling, Matrix, Summary, summary
from anyseek.search.evaluation.measures import Estimate, Recall, Scores
from anyseek.search.evaluation.output_measures import LOWER_IS_BETTER
from anyseek.search.evaluation.outputs import OutputRow, Outputs
from anyseek.search.evaluation.score_measures import ScoreRow
from anyseek.search.evaluation.transfer import TOLERATED, Transfer, TransferRow

_TOLD = 10  # of unreadable things
_HEADINGS = {
    Compare.FUSION: "Fusion of the parts of a query",
    Compare.GALLERY: "Gallery vectors",
    Compare.DECODING: "Decoding of codes",
}


def emoji_lines(rows: Sequence[EmojiRow]) -> Iterator[str]:
    """The table of the emoji suite."""
    yield f"{'query':22}{'n':>5}  {'model R@1 R@10':16}{'baseline':14}{'ridge':14}space"
    for row in rows:
        numbers = [_pair(recall) for recall in (row.model, row.baseline, row.ridge)]
        yield f"{row.kind:22}{row.model.queries:5}  {numbers[0]:16}{numbers[1]:14}{numbers[2]:14}{row.space}"


def combined_lines(found: Combined) -> Iterator[str]:
    """The table of the queries of several parts, each beside its parts alone, and the queries with negative parts."""
    wide = _width([row.name for row in found.rows])
    yield f"{'query':{wide}}{'n':>5}{'items':>7}  {'R@10':24}{'over the best part':28}aim      parts alone"
    for row in found.rows:
        alone = ", ".join(f"{name} {part.value:.3f}" for name, part in row.parts.items())
        told = f"{row.name:{wide}}{row.queries:5}{row.gallery:7}  {_interval(row.together):24}"
        yield f"{told}{_interval(row.gain, '+'):28}{_aim(row.reached):9}{alone}"
    if found.palette is not None:
        yield f"a palette of five colours alone: {_interval(found.palette.together)} of {found.palette.queries} emoji"
    for unlike in found.negatives:
        yield (
            f"{unlike.name}, n {unlike.queries} in {unlike.gallery}: mAP of the rest of the class "
            f"{unlike.before.value:.3f} -> {unlike.after.value:.3f}, change {_interval(unlike.change, '+')}; "
            f"the unwanted fell in {unlike.fell.value:.2f}, rose in {unlike.rose.value:.2f}; {_aim(unlike.reached)}"
        )
    if found.photographed is not None:
        drawn = found.photographed
        yield (
            f"drawings photographed from paper, n {drawn.queries} in {drawn.gallery}: "
            f"R@10 {_interval(drawn.photographed)}, clean {_interval(drawn.clean)}, "
            f"not cleaned {_interval(drawn.as_they_are)}; {_aim(drawn.reached)}"
        )
    for of, forms in (("depth maps", found.depth_forms), ("normals", found.normal_forms)):
        if forms is not None:
            told = ", ".join(f"{name} {share:.3f}" for name, share in forms.right.items())
            right = f"{forms.mean:.3f} of {forms.maps} {forms.source}"
            yield f"{of} read the right way round: {right} ({told}); {_aim(forms.reached)}"
    yield from _score_lines(found.scores)


def _score_lines(rows: Sequence[ScoreRow]) -> Iterator[str]:
    """What probabilities are worth, by kind of query and over all."""
    wide = _width([row.kind for row in rows])
    yield "probabilities, asked with the item there and without: calibration error, mAP of all hits in one order"
    yield (
        f"{'query':{wide}}{'n':>5}{'hits':>7}  {'best hit':10}{'first ten':11}{'mAP by score':14}{'by probability':16}"
        "nothing good: not there, best hit right"
    )
    for row in rows:
        yield (
            f"{row.kind:{wide}}{row.queries:5}{row.hits:7}  {row.error_of_best:<10.3f}{row.error:<11.3f}"
            f"{row.by_score:<14.3f}{row.by_probability:<16.3f}{row.nothing_good:.2f}, {row.wrongly:.2f}"
        )


def _aim(reached: bool) -> str:
    return "reached" if reached else "missed"


def _interval(value: Estimate, sign: str = "") -> str:
    return f"{value.value:{sign}.3f} ({value.low:{sign}.3f} to {value.high:{sign}.3f})"


def transfer_lines(found: Transfer) -> Iterator[str]:
    """The table of the transfer suite: a row for each source and kind of query, and the mean over sources."""
    wide = _width([row.query for row in found.rows])
    source = _width([row.source for row in found.rows])
    heads = f"{'n':>7}{'photos':>8}  {'measure':8}{'model':>7}{'encoders':>10}{'ridge':>7}  "
    yield f"{'source':{source}}{'query':{wide}}{heads}{'gain (95% interval)':24}"
    for row in found.rows:
        yield f"{row.source:{source}}{row.query:{wide}}{_transfer_numbers(row)}".rstrip()
    means = "".join(
        f"{_number(found.mean(column)):>{n}}" for column, n in (("model", 7), ("encoders", 10), ("ridge", 7))
    )
    yield f"{'mean over sources':{source + wide + 25}}{means}"
    broken = [f"{row.source} {row.query}" for row in found.rows if not row.holds]
    yield f"worse than the encoders alone (lower bound below {TOLERATED}): {', '.join(broken) or 'none'}"
    yield from (f"left out: {reason}" for reason in found.left_out[:_TOLD])


def _transfer_numbers(row: TransferRow) -> str:
    measure = {"at_10": "R@10", "mean_average_precision": "mAP"}[row.measure]
    values = [_number(row.value(scores)) for scores in (row.model, row.encoders, row.ridge)]
    gain = "" if row.gain is None else f"{row.gain.value:+.3f} ({row.gain.low:+.3f} to {row.gain.high:+.3f})"
    counts = f"{row.model.queries:7,}{row.model.gallery:8,}  {measure:8}"
    return f"{counts}{values[0]:>7}{values[1]:>10}{values[2]:>7}  {gain}{'' if row.holds else '  worse'}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _pair(recall: Recall) -> str:
    return f"{recall.at_1:.2f}  {recall.at_10:.2f}"


def matrix_lines(matrices: Sequence[Matrix]) -> Iterator[str]:
    """Each set's summary, then all rows of its matrix, the comparisons, and what was left out."""
    for number, matrix in enumerate(matrices):
        if number:
            yield ""
        yield f"{matrix.name}: {matrix.things:,} things"
        yield from _short(matrix)
        yield ""
        yield from _all_rows(matrix)
        yield from comparison_lines(matrix.comparisons, matrix.ceilings)
        yield from _remarks(matrix)


def output_lines(outputs: Outputs, average: Sequence[OutputRow] = ()) -> Iterator[str]:
    """The table of predicted modalities, next to the scores of the average of a training split."""
    without = {(row.modality, row.measure): f"{row.value.value:.3f}" for row in average}
    yield f"{outputs.name}: predicted from {' + '.join(outputs.given)} alone"
    heads = f"{'modality':18}{'measure':18}{'things':>7}{'value':>10}  {'95% interval':18}"
    yield f"{heads}{'average' if without else ''}".rstrip()
    for row in outputs.rows:
        value, better = row.value, "  (lower is better)" if row.measure in LOWER_IS_BETTER else ""
        interval = f"{value.low:.3f} to {value.high:.3f}"
        beside = f"{without.get((row.modality, row.measure), ''):7}" if without else ""
        numbers = f"{row.things:7,}{value.value:10.3f}  {interval:18}{beside}"
        yield f"{row.modality:18}{row.measure:18}{numbers}{better}".rstrip()
    if without:
        yield "average: the mean map of training things, whatever the picture"
    yield from _unreadable(outputs.unreadable)


def _short(matrix: Matrix) -> Iterator[str]:
    table = summary(matrix)
    wide = _width(table.queries)
    yield f"\n{table.measure} by default ((own): the query is the very file that the item is indexed by)"
    yield " " * wide + "".join(f"{gallery:>16}" for gallery in table.galleries)
    for query in table.queries:
        cells = [_cell(table, table.cells.get((query, gallery))) for gallery in table.galleries]
        yield f"{query:{wide}}" + "".join(f"{cell:>16}" for cell in cells)


def _all_rows(matrix: Matrix) -> Iterator[str]:
    wide = _width([row.query for row in matrix.rows])
    items = _width([_items(row) for row in matrix.rows])
    labelled = any(row.model.mean_average_precision for row in matrix.rows)
    heads = f"{'R@1':>5}{'R@5':>6}{'R@10':>6} {'(95%)':14}{'median':>8}" + (f"{'mAP':>6}" if labelled else "")
    yield f"{'query':{wide}}{'items':{items}}{'n':>6}{heads}  {'encoders':14}{'ridge':14}space"
    for row in matrix.rows:
        model = row.model
        interval = f"({model.at_10.low:.2f}-{model.at_10.high:.2f})"
        numbers = f"{model.at_1.value:5.2f}{model.at_5.value:6.2f}{model.at_10.value:6.2f} {interval:14}"
        numbers += f"{model.median_rank.value:8.1f}" + (f"{_precision(model):>6}" if labelled else "")
        rivals = "".join(f"{_measures(scores, labelled):14}" for scores in (row.encoders, row.ridge))
        yield f"{row.query:{wide}}{_items(row):{items}}{model.queries:6}{numbers}  {rivals}{_where(row)}"


def _remarks(matrix: Matrix) -> Iterator[str]:
    if matrix.rows:
        wanted = "R@10 and mAP" if any(row.model.mean_average_precision for row in matrix.rows) else "R@1 and R@10"
        yield f"\n*: what the service does by default. Baselines: {wanted}."
    if matrix.ridge_fit:
        yield f"The ridge is fitted on {matrix.ridge_fit}."
    for modality, reason in matrix.left_out.items():
        missing = "is not all there" if any(modality in row.modalities for row in matrix.rows) else "has no row"
        yield f"{modality} {missing}: {reason}"
    yield from matrix.notes
    yield from _unreadable(matrix.unreadable)


def _unreadable(reasons: Sequence[str]) -> Iterator[str]:
    for reason in reasons[:_TOLD]:
        yield f"left out: {reason}"
    if len(reasons) > _TOLD:
        yield f"and {len(reasons) - _TOLD:,} more could not be read"


def _width(names: Sequence[str]) -> int:
    return max((len(name) for name in names), default=0) + 2


def _items(row: Row) -> str:
    return f"{row.gallery} ({row.gallery_kind})"


def _where(row: Row) -> str:
    fusion = f", {row.fusion}" if row.fusion else ""
    return f"{row.space}{fusion}{' *' if row.default else ''}{' (own)' if row.contains_gallery else ''}"


def _cell(table: Summary, row: Row | None) -> str:
    number = table.value(row.model) if row else None
    if row is None or number is None:
        return "-"
    return f"{number:.2f}{' (own)' if table.tells_little(row) else ''}"


def _precision(scores: Scores) -> str:
    return f"{scores.mean_average_precision.value:.2f}" if scores.mean_average_precision else "-"


def _measures(scores: Scores | None, labelled: bool) -> str:
    if scores is None:
        return "-"
    if labelled:
        return f"{scores.at_10.value:.2f}  {_precision(scores)}"
    return f"{scores.at_1.value:.2f}  {scores.at_10.value:.2f}"


def comparison_lines(comparisons: Sequence[Comparison], ceilings: Sequence[Ceiling]) -> Iterator[str]:
    """A table for each comparison; nothing if there are none."""
    for what, heading in _HEADINGS.items():
        alike = [comparison for comparison in comparisons if comparison.what is what]
        for other in dict.fromkeys(comparison.other for comparison in alike):
            yield ""
            yield from _table([comparison for comparison in alike if comparison.other == other], heading)
    if ceilings:
        yield ""
        yield from _ceiling_table(ceilings)


def _table(some: Sequence[Comparison], heading: str) -> Iterator[str]:
    labelled = any(comparison.gain.mean_average_precision for comparison in some)
    usual, other = some[0].usual, some[0].other
    queries = max(len(comparison.query) for comparison in some) + 2
    items = max(len(_compared_items(comparison)) for comparison in some) + 2
    measure = "R@10 and mAP" if labelled else "R@1 and R@10"
    yield f"{heading}: {measure}; gain of {other} in {'mAP' if labelled else 'R@10'}, with its 95% interval"
    yield f"{'query':{queries}}{'items':{items}}{'n':>6}  {usual + ' *':14}{other:14}{'gain':23}space"
    for comparison in some:
        usual_scores, other_scores = comparison.usual_scores, comparison.other_scores
        numbers = f"{_measures(usual_scores, labelled):14}{_measures(other_scores, labelled):14}"
        gained = _gain(comparison.gain.mean_average_precision if labelled else comparison.gain.at_10)
        about = f"{comparison.query:{queries}}{_compared_items(comparison):{items}}{usual_scores.queries:6}"
        yield f"{about}  {numbers}{gained:23}{comparison.space}"


def _compared_items(comparison: Comparison) -> str:
    if comparison.what is Compare.GALLERY:
        return comparison.gallery
    return f"{comparison.gallery} ({comparison.gallery_kind})"


def _gain(gain: Estimate | None) -> str:
    return "-" if gain is None else f"{gain.value:+.3f} ({gain.low:+.3f} {gain.high:+.3f})"


def _ceiling_table(ceilings: Sequence[Ceiling]) -> Iterator[str]:
    yield "Ceiling of the codes: exact vectors through codes and back, among the exact ones"
    yield f"{'space':18}{'made of':10}{'n':>6}{'R@1':>7}{'R@10':>7}{'cosine':>8}"
    for ceiling in ceilings:
        numbers = f"{ceiling.at_1.value:7.3f}{ceiling.at_10.value:7.3f}{ceiling.cosine:8.2f}"
        yield f"{ceiling.space:18}{ceiling.modality:10}{ceiling.vectors:6}{numbers}"
