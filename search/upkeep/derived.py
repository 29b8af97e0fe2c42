"""Consistency checks of facets and words against the items that they are derived from, before queries rely on them.

With few items, a process runs the check once, before its first query that reads these rows. With many items, and again
at intervals, because data decays at rest, a service runs it in the background. Rows that differ are rebuilt; queries
that would read them are refused while they cannot be repaired, or the last check failed.
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
from anyseek.search.catalogue.failures import error_message, translate_error
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError, DatabaseBusy, StoreCorrupt
from anyseek.search.telemetry.metrics import DERIVED_COMPARED, DERIVED_ENDED, DERIVED_MENDED

logger = logging.getLogger(__name__)

# Up to so many items of all collections are compared before a query, which takes about half a second of CPU time.
MAX_FOREGROUND_ITEMS = 5_000
_POLL_SECONDS = 30.0  # how often a service looks whether a comparison is due
# When a failed comparison is tried again, since the damage may have been repaired meanwhile.
_RETRY_SECONDS = 10.0
_BACKGROUND_RETRY_SECONDS = 600.0  # with many items


class ConsistencyMonitor:
    """Consistency checks of the facets and the words of a catalogue. Thread-safe."""

    def __init__(self, database: Database, invalidate: Callable[[], None] = lambda: None) -> None:
        """`invalidate` is called after a repair: cached rows may be wrong."""
        self.facets = TableMonitor(database, FACETS, invalidate)
        self.words = TableMonitor(database, WORDS, invalidate)

    def run(self, closing: threading.Event, hours: float) -> None:
        """Compare tables in the background until `closing`: when first needed, and again every `hours` (0: never)."""
        while not closing.wait(_POLL_SECONDS):
            for monitor in (self.facets, self.words):
                if monitor.is_due(3600 * hours):
                    monitor.compare_in_background(closing)


class TableMonitor:
    """The consistency of one derived table, as this process last found it."""

    def __init__(self, database: Database, table: DerivedTable, invalidate: Callable[[], None]) -> None:
        self._database, self._table, self._invalidate = database, table, invalidate
        self._lock = threading.Lock()
        self._is_used, self._is_large = False, False
        self._compared_at: float | None = None
        self._retry_at = 0.0
        self._error: AnyseekError | None = None  # raised by queries

    def check(self) -> None:
        """Compare the table if needed. Call it before a query reads the table, and outside of transactions.

        Raises `StoreCorrupt` if the table is damaged and cannot be repaired. An error that prevents the comparison,
        translated by `anyseek.search.catalogue.failures` (such as `DatabaseBusy`), is raised until the next attempt.
        """
        self._is_used = True
        is_open = self._compared_at is None or self._error is not None
        # Other threads wait for a first comparison, but not after a failure.
        if is_open and not self._is_large and self._lock.acquire(blocking=self._error is None):
            try:
                self._compare_now()
            finally:
                self._lock.release()
        if error := self._error:
            raise copy(error)  # a shared object would collect the tracebacks of all threads

    def is_due(self, interval: float) -> bool:
        """True if queries read the table, and it was not compared in the last `interval` seconds (0: ever)."""
        if not self._is_used or time.monotonic() < self._retry_at:
            return False
        if self._compared_at is None or self._error:
            return True
        return interval > 0 and time.monotonic() - self._compared_at >= interval

    def compare_in_background(self, closing: threading.Event) -> None:
        """Compare in small steps, each followed by a pause of its own length, until the end or `closing`."""
        with self._lock:
            try:
                self._compare(_Progress(self._table.name, closing))
            except _Stopped:
                return
            except Exception as error:  # noqa: BLE001  whatever it is, the thread tries again later
                self._record_failure(error)

    def _compare_now(self) -> None:
        """Compare, unless another thread has just done so, it failed a moment ago, or there are too many items."""
        if (self._compared_at is not None and not self._error) or time.monotonic() < self._retry_at:
            return
        try:
            with self._database.read() as session:
                self._is_large = derived.count_items(session) > MAX_FOREGROUND_ITEMS
            if not self._is_large:
                self._compare(_Progress(self._table.name))
        except Exception as error:  # noqa: BLE001  recorded, so that not every query repeats the attempt
            self._error = self._record_failure(error)

    def _compare(self, progress: "_Progress") -> None:
        damage = derived.find_damage(self._database, self._table, progress.advance)
        self._error = self._repair(damage, progress) if damage else None
        self._compared_at = time.monotonic()
        self._retry_at = self._compared_at + self._retry_delay() if self._error else 0.0
        DERIVED_ENDED.labels(self._table.name).set_to_current_time()

    def _repair(self, damage: Damage, progress: "_Progress") -> StoreCorrupt | None:
        """Rebuild the damaged rows and compare again; return the error for queries if damage remains."""
        name, why = self._table.name, ""
        try:
            try:
                derived.repair(self._database, self._table, damage)
            finally:  # some rows may be repaired
                self._invalidate()
            remaining = derived.find_damage(self._database, self._table, progress.advance)
        except SQLAlchemyError as error:
            if _is_transient(error):
                raise
            remaining, why = damage, f" ({error_message(error)})"
        if not remaining:
            DERIVED_MENDED.labels(name).inc()
            logger.warning("the %s of %s were damaged in the database; they are written anew", name, damage)
            return None
        message = f"the {name} of {remaining} are damaged in the database and cannot be mended here{why}"
        logger.warning(message)
        return StoreCorrupt(f"{message}; anyseek verify names them, and anyseek rebuild mends them")

    def _record_failure(self, error: Exception) -> AnyseekError:
        """Log why the table could not be compared, and schedule a retry; return the error for queries."""
        message = f"the {self._table.name} cannot be compared with their items"
        known = error if isinstance(error, AnyseekError) else translate_error(error)
        if known is None:
            logger.error(message, exc_info=error)
            known = StoreCorrupt(f"{message} ({type(error).__name__}: {error}); anyseek verify says what is damaged")
        else:
            logger.warning("%s: %s", message, known)
        self._retry_at = time.monotonic() + (_RETRY_SECONDS if _is_transient(error) else self._retry_delay())
        return known

    def _retry_delay(self) -> float:
        return _BACKGROUND_RETRY_SECONDS if self._is_large else _RETRY_SECONDS


def _is_transient(error: Exception) -> bool:
    """True if an error does not point to damage: another process holds the database, or the connection broke."""
    is_broken = isinstance(error, DBAPIError) and error.connection_invalidated
    return is_broken or isinstance(translate_error(error), DatabaseBusy)


class _Stopped(Exception):
    """The process shuts down."""


class _Progress:
    """Reports the progress of a comparison, and pauses one that runs in the background."""

    def __init__(self, kind: str, closing: threading.Event | None = None) -> None:
        self._closing = closing
        self._compared = DERIVED_COMPARED.labels(kind)
        self._compared.set(0)
        self._started = time.monotonic()

    def advance(self, count: int) -> None:
        """Report that `count` more items have been compared. Raises `_Stopped`."""
        self._compared.inc(count)
        if self._closing is not None:
            if self._closing.wait(time.monotonic() - self._started):
                raise _Stopped
            self._started = time.monotonic()
