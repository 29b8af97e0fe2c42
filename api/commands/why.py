"""Explanations of hits as lines of text, for `anyseek query --explain`."""

from collections.abc import Iterator

from anyseek.search.answers.results import Explanation, PartShare, RankingShare, SharedCodes, SharedWord

_LONGEST_NAME = 40


def lines(explanation: Explanation) -> Iterator[str]:
    """A line for each part, or several: what it found alone, what it adds, and the words in common."""
    for part in explanation.parts:
        yield f"{_name(part)}: {'; '.join(_said(part, explanation.depth))}"
        if part.codes is not None:
            yield f"  {_codes(part.codes)}"
        if part.names:
            yield f"  the model sees in both: {', '.join(part.names)}"
        if part.words:
            yield f"  in common: {', '.join(map(_word, part.words))}"
    if explanation.names:
        yield f"the model sees in it: {', '.join(explanation.names)}"
    if explanation.codes is not None:
        yield f"all together: {_codes(explanation.codes)}"
    if explanation.rankings:
        shares = ", ".join(_share(one, explanation.depth) for one in explanation.rankings)
        yield f"the score is the sum of {shares}"


def standing(explanation: Explanation) -> str:
    """The item's key, with its score and place among all items."""
    place = _place(explanation.rank, explanation.depth)
    return f"{explanation.key}: {explanation.score:.3f}, {place}"


def _name(part: PartShare) -> str:
    weight = "" if part.weight == 1 else f" (weight {part.weight:g})"
    if part.item is not None:
        return f"item {part.item}{weight}"
    if part.text is None:
        return f"{part.modality or 'vector'}{weight}"
    text = part.text if len(part.text) <= _LONGEST_NAME else f"{part.text[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    return f'{part.modality} "{text}"{weight}'


def _said(part: PartShare, depth: int) -> Iterator[str]:
    if part.similarity is not None:
        yield f"similarity {part.similarity:.3f} in {part.space}, alone {_place(part.rank, depth)}"
    elif part.rank is None:
        yield "none of the words"
    else:
        yield f"alone {_place(part.rank, depth)}"
    if part.contribution is not None and part.score_without is not None:
        without = f"{part.score_without:.3f} and {_place(part.rank_without, depth)}"
        yield f"adds {part.contribution:+.3f} (without it {without})"


def _place(rank: int | None, depth: int) -> str:
    return f"rank {rank:,}" if rank is not None else f"not among the first {depth:,}"


def _codes(codes: SharedCodes) -> str:
    said = f"{len(codes.agree)} of {codes.of} codes agree"
    if codes.choices is None or codes.likelier is None:
        return said
    return (
        f"{said}; the item's are {codes.likelier:.1f} times as likely as by chance, and the model wavers between "
        f"{codes.choices:.0f} of {codes.count:,}"
    )


def _word(shared: SharedWord) -> str:
    return f"{shared.word} ({', '.join(shared.fields)})"


def _share(ranking: RankingShare, depth: int) -> str:
    return f"{ranking.share:+.3f} by {ranking.space or 'words'} ({_place(ranking.rank, depth)})"
