"""Calibrate a collection's probabilities on itself at the end of a job that put many items into it, unasked.

Only curves are fitted, and no means of queries, so hits stay in their order; see `anyseek.indexer.tuning`. It costs a
job about a tenth of its own work: there is a query of each kind for every fifteenth item that the job made, and those
for an item cost one and a half times as much as indexing a plain photo (docs/indexing.md).
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from anyseek.indexer.errors import JobStopped
from anyseek.indexer.runs import Progress, Tools
from anyseek.search.catalogue import audit, collections, tunings
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.errors import AnyseekError, CollectionNotFound
from anyseek.search.query_means import FEWEST
from anyseek.search.settings import Settings

if TYPE_CHECKING:
    from anyseek.indexer.tuning import Tuned

logger = logging.getLogger(__name__)

MADE_FOR_EACH = 15  # items that the job made, for each that queries are made from
MOST = 96  # more queries of a kind gain little (docs/evaluation.md)
GROWN = 4  # times as large as it was when it was last calibrated
_WITHOUT = "hashing"  # a model for trials, whose scores no curve was made for


def may_be_due(job: Job, settings: Settings) -> bool:
    """Whether a job that has ended made enough items to calibrate on; the model and the catalogue are not asked."""
    wanted = settings.calibrate and job.calibrates and job.state == JobState.DONE
    return wanted and job.counts.indexed >= FEWEST * MADE_FOR_EACH


def calibrate(load: Callable[[], Tools], job: Job, progress: Progress, check: Callable[[], None]) -> None:
    """Fit the curves of the collection of a job that `may_be_due`, if they are. No failure of this is one of the job.

    `load` gives the tools with the collection's model; `check` ends this by raising `JobStopped`. What was left undone
    is done by the next job that makes as many items.
    """
    from anyseek.indexer.tuning import tried  # most jobs do not need what it imports

    try:
        tools = load()
        if tools.embedder.name == _WITHOUT:
            return
        with tools.database.read() as session:
            head = collections.head(session, job.collection)
            count = collections.count(session, head.id)
        if not _is_due(head, count):
            return
        most = min(MOST, job.counts.indexed // MADE_FOR_EACH)
        progress.calibrating(most)
        tuned = tried(tools, head, most, with_means=False, check=check)
        if tuned.unreadable > tuned.items / 2:
            logger.warning(
                "the probabilities of %s stay as they are: of %d items, %d have originals that cannot be read",
                *(job.collection, tuned.items, tuned.unreadable),
            )
            return
        _write(tools, head, tuned, count, job.id)
    except (JobStopped, CollectionNotFound) as error:
        logger.info("the probabilities of %s were not calibrated: %s", job.collection, error)
    except Exception as error:  # whatever it is, the job has done its work
        unexpected = not isinstance(error, AnyseekError)
        said = "the probabilities of %s stay as they are, as calibrating failed: %s"
        logger.warning(said, job.collection, error, exc_info=unexpected)


def _is_due(head: Head, count: int) -> bool:
    """Whether the collection has grown enough since, and its user has neither tuned it nor undone that."""
    counts = [space.calibrated_count for space in head.spaces]
    return all(before is not None and count >= GROWN * before for before in counts)


def _write(tools: Tools, before: Head, tuned: "Tuned", count: int, job_id: int) -> None:
    """Use the curves, unless the collection was tuned or switched, or its mean moved; if none helps, that is known."""
    from anyseek.indexer.tuning import curves_of

    with tools.database.write() as session:
        collections.lock(session, collections.get(session, before.name))
        head = collections.head_by_id(session, before.id)
        if _version(head) != _version(before):
            return
        for space in head.spaces:
            tunings.replace(session, space.id, (), curves_of(tuned.curves, space), count)
        audit.record(session, "collection.calibrate", head.name, job_id)


def _version(head: Head) -> list[tuple[int, str, int, int]]:
    return [(space.id, space.fingerprint, space.centre_version, space.tuning_version) for space in head.spaces]
