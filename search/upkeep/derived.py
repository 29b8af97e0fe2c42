"""Comparison of facets and words with the items that they are derived from, before answers rely on them.

A process compares them once before the first answer that reads them where there are few items. Where there are many,
and again from time to time, because damage comes at rest, a service does so beside its answers. What differs is written
anew; where it cannot be, or could not be compared of late, answers that would read it are refused.
"""

import logging
import threading
import time
from collections.abc import Callable
from copy import copy

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from anyseek.search.catalogue import derived
from anyseek.search.catalogue.derived import Damage
from anyseek.search.catalogue.derived_tables import FACETS, WORDS, DerivedTable
from anyseek.search.catalogue.failures import meaning, sentence
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError, DatabaseBusy, StoreCorrupt
from anyseek.search.telemetry.metrics import DERIVED_COMPARED, DERIVED_ENDED, DERIVED_MENDED

logger = logging.getLogger(__name__)

# Of all collections together: so many items are compared before an answer, in about half a second of the processor.
AT_ONCE = 5_000
_LOOK_SECONDS = 30.0  # how often a service looks whether a comparison is due
# How soon what is refused or failed is looked at again, as somebody may have mended it.
_AGAIN_SECONDS = 10.0
_AGAIN_BESIDE_SECONDS = 600.0  # where there are many


class DerivedRows:
    """The facets and the words of all collections of a catalogue. Safe for many threads."""

    def __init__(self, database: Database, forget: Callable[[], None] = lambda: None) -> None:
        """`forget` is called when something has been mended: what was read before may be wrong."""
        self.facets = Trust(database, FACETS, forget)
        self.words = Trust(database, WORDS, forget)

    def keep(self, closing: threading.Event, hours: float) -> None:
        """Compare beside answers until `closing`: what was wanted and not yet compared, and all anew after `hours`.

        0: never anew.
        """
        while not closing.wait(_LOOK_SECONDS):
            for trust in (self.facets, self.words):
                if trust.is_due(3600 * hours):
                    trust.compare_beside(closing)


class Trust:
    """One kind of derived rows, and what this process last found out about it."""

    def __init__(self, database: Database, table: DerivedTable, forget: Callable[[], None]) -> None:
        self._database, self._table, self._forget = database, table, forget
        self._comparing = threading.Lock()
        self._is_wanted, self._are_many = False, False
        self._ended_at: float | None = None
        self._try_again_at = 0.0
        self._error: AnyseekError | None = None  # with which answers are refused

    def check(self) -> None:
        """To be called before an answer that goes by these rows, and outside of transactions.

        Raises `StoreCorrupt` if they are damaged and cannot be mended; where they cannot be compared, what
        `anyseek.search.catalogue.failures` makes of the reason, such as `DatabaseBusy`, which is kept for a while.
        """
        self._is_wanted = True
        is_open = self._ended_at is None or self._error is not None
        # Others wait for a first comparison, but not after a failure.
        if is_open and not self._are_many and self._comparing.acquire(blocking=self._error is None):
            try:
                self._compare_at_once()
            finally:
                self._comparing.release()
        if error := self._error:
            raise copy(error)  # one object would gather the tracebacks of all who ask

    def is_due(self, every: float) -> bool:
        """True if answers rely on these rows, and they were not compared in the last `every` seconds (0: ever)."""
        if not self._is_wanted or time.monotonic() < self._try_again_at:
            return False
        if self._ended_at is None or self._error:
            return True
        return every > 0 and time.monotonic() - self._ended_at >= every

    def compare_beside(self, closing: threading.Event) -> None:
        """Compare in small steps, resting for as long as each takes, until the end or `closing`."""
        with self._comparing:
            try:
                self._compare(_Steps(self._table.name, closing))
            except _Closing:
                return
            except Exception as error:  # noqa: BLE001  whatever it is, the thread looks again later
                self._failed(error)

    def _compare_at_once(self) -> None:
        """Compare now, unless another thread has just done so, it failed a moment ago, or there are too many items."""
        if (self._ended_at is not None and not self._error) or time.monotonic() < self._try_again_at:
            return
        try:
            with self._database.read() as session:
                self._are_many = derived.count_items(session) > AT_ONCE
            if not self._are_many:
                self._compare(_Steps(self._table.name))
        except Exception as error:  # noqa: BLE001  kept, so that not every query meets it anew
            self._error = self._failed(error)

    def _compare(self, steps: "_Steps") -> None:
        damage = derived.survey(self._database, self._table, steps.done)
        self._error = self._mend(damage, steps) if damage else None
        self._ended_at = time.monotonic()
        self._try_again_at = self._ended_at + self._pause() if self._error else 0.0
        DERIVED_ENDED.labels(self._table.name).set_to_current_time()

    def _mend(self, damage: Damage, steps: "_Steps") -> StoreCorrupt | None:
        """Write anew what is damaged, and look again; the error that refuses answers if that does not help."""
        name, why = self._table.name, ""
        try:
            try:
                derived.mend(self._database, self._table, damage)
            finally:  # some of it may be mended
                self._forget()
            left = derived.survey(self._database, self._table, steps.done)
        except SQLAlchemyError as error:
            if _passes(error):
                raise
            left, why = damage, f" ({sentence(error)})"
        if not left:
            DERIVED_MENDED.labels(name).inc()
            logger.warning("the %s of %s were damaged in the database; they are written anew", name, damage)
            return None
        message = f"the {name} of {left} are damaged in the database and cannot be mended here{why}"
        logger.warning(message)
        return StoreCorrupt(f"{message}; anyseek verify names them, and anyseek rebuild mends them")

    def _failed(self, error: Exception) -> AnyseekError:
        """Log why the rows could not be compared, and look again later; what answers are refused with."""
        message = f"the {self._table.name} cannot be compared with their items"
        known = error if isinstance(error, AnyseekError) else meaning(error)
        if known is None:
            logger.error(message, exc_info=error)
            known = StoreCorrupt(f"{message} ({type(error).__name__}: {error}); anyseek verify says what is damaged")
        else:
            logger.warning("%s: %s", message, known)
        self._try_again_at = time.monotonic() + (_AGAIN_SECONDS if _passes(error) else self._pause())
        return known

    def _pause(self) -> float:
        return _AGAIN_BESIDE_SECONDS if self._are_many else _AGAIN_SECONDS


def _passes(error: Exception) -> bool:
    """True if an error says nothing of the rows: another process holds the database, or the connection to it broke."""
    is_broken = isinstance(error, DBAPIError) and error.connection_invalidated
    return is_broken or isinstance(meaning(error), DatabaseBusy)


class _Closing(Exception):
    """The process ends."""


class _Steps:
    """The progress of a comparison, and the pauses within one that runs beside answers."""

    def __init__(self, kind: str, closing: threading.Event | None = None) -> None:
        self._closing = closing
        self._compared = DERIVED_COMPARED.labels(kind)
        self._compared.set(0)
        self._began = time.monotonic()

    def done(self, count: int) -> None:
        """Note that so many items have been compared. Raises `_Closing`."""
        self._compared.inc(count)
        if self._closing is not None:
            if self._closing.wait(time.monotonic() - self._began):
                raise _Closing
            self._began = time.monotonic()
