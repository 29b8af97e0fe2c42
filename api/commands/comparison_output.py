"""What `anyseek eval --compare` prints for people: two ways of answering, side by side."""

from collections.abc import Iterator, Sequence

from search.evaluation.ceilings import Ceiling
from search.evaluation.comparisons import Compare, Comparison
from search.evaluation.measures import Estimate, Scores

_HEADINGS = {
    Compare.FUSION: "Fusion of the parts of a query",
    Compare.GALLERY: "Gallery vectors",
    Compare.DECODING: "Decoding of codes",
}


def comparison_lines(comparisons: Sequence[Comparison], ceilings: Sequence[Ceiling]) -> Iterator[str]:
    """A table for each thing that was compared; nothing where nothing was."""
    for what, heading in _HEADINGS.items():
        some = [one for one in comparisons if one.what is what]
        if some:
            yield ""
            yield from _table(some, heading)
    if ceilings:
        yield ""
        yield from _ceiling_table(ceilings)


def _table(some: Sequence[Comparison], heading: str) -> Iterator[str]:
    labelled = any(one.gain.mean_average_precision for one in some)
    usual, other = some[0].usual, some[0].other
    queries = max(len(one.query) for one in some) + 2
    items = max(len(_items(one)) for one in some) + 2
    measure = "R@10 and mAP" if labelled else "R@1 and R@10"
    yield f"{heading}: {measure}; gain of {other} in {'mAP' if labelled else 'R@10'}, with its 95% interval"
    yield f"{'query':{queries}}{'items':{items}}{'n':>6}  {usual + ' *':14}{other:14}{'gain':23}space"
    for one in some:
        numbers = "".join(f"{_pair(scores, labelled):14}" for scores in (one.usual_scores, one.other_scores))
        gained = _gain(one.gain.mean_average_precision if labelled else one.gain.at_10)
        yield f"{one.query:{queries}}{_items(one):{items}}{one.usual_scores.queries:6}  {numbers}{gained:23}{one.space}"


def _items(one: Comparison) -> str:
    return one.gallery if one.what is Compare.GALLERY else f"{one.gallery} ({one.gallery_kind})"


def _pair(scores: Scores, labelled: bool) -> str:
    if not labelled:
        return f"{scores.at_1.value:.2f}  {scores.at_10.value:.2f}"
    precision = scores.mean_average_precision
    return f"{scores.at_10.value:.2f}  {'-' if precision is None else f'{precision.value:.2f}'}"


def _gain(one: Estimate | None) -> str:
    return "-" if one is None else f"{one.value:+.3f} ({one.low:+.3f} {one.high:+.3f})"


def _ceiling_table(ceilings: Sequence[Ceiling]) -> Iterator[str]:
    yield "Ceiling of the codes: exact vectors through codes and back, among the exact ones"
    yield f"{'space':18}{'made of':10}{'n':>6}{'R@1':>7}{'R@10':>7}{'cosine':>8}"
    for one in ceilings:
        numbers = f"{one.at_1.value:7.3f}{one.at_10.value:7.3f}{one.cosine:8.2f}"
        yield f"{one.space:18}{one.modality:10}{one.vectors:6}{numbers}"
