"""What an answer says beside its hits, in a sentence or two."""

from anyseek.search.hits import Found
from anyseek.search.types import Query

NOTHING = "nothing good was found"  # how the note begins then


def of_scores(query: Query, found: Found) -> str | None:
    """That nothing is good enough, or nothing good, and how good the best is."""
    if not found.scores:
        return None
    highest, best = found.scores[0][1], found.best
    if query.min_score is not None and highest < query.min_score:
        return f"no item has a score of at least {query.min_score:g}; the highest is {highest:.3f}"
    if best is None:
        return None
    if query.min_probability is not None and best < query.min_probability:
        least = f"no item has a probability of at least {query.min_probability:g}"
        return f"{NOTHING}: {least}; the highest is {best:.3f}"
    if best < found.nothing_below:
        return f"{NOTHING}: the best item has a probability of {best:.3f}"
    return None


def of_damage(hits: int, lacking: int) -> str | None:
    """What an answer lacks because the database is damaged."""
    said = []
    if hits:
        said.append(f"{hits} of the hits are left out because their rows in the database are damaged")
    if lacking:
        said.append(f"{lacking} items are not searched because their vectors are damaged or lost")
    return f"{' and '.join(said)}; anyseek verify names them" if said else None
