"""Writers of a database on SQLite: a fair queue within a process, random pauses between processes."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from anyseek.search.catalogue import session
from anyseek.search.catalogue.failures import translate_error
from anyseek.search.catalogue.session import Database, patience, writer_queue
from anyseek.search.errors import DatabaseBusy
from tests.search.gallery import open_catalogue


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    _, database = open_catalogue(tmp_path)
    yield database
    database.close()


def test_writers_of_a_process_write_in_the_order_in_which_they_came(database: Database) -> None:
    order: list[int] = []

    def write(number: int) -> None:
        with closing(Database(database.url)) as other, other.write():  # the queue is one for all objects
            order.append(number)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    with database.write():
        for number, writer in enumerate(writers):
            writer.start()
            while len(writer_queue(database.engine)) < number + 2:
                time.sleep(0.001)
    for writer in writers:
        writer.join()
    assert order == list(range(8))


def test_a_writer_that_gives_up_lets_the_next_one_write(database: Database) -> None:
    with database.write():
        with pytest.raises(Exception, match="database is locked") as refused, patience(0.01), database.write():
            pass
        assert len(writer_queue(database.engine)) == 1
    assert isinstance(translate_error(refused.value), DatabaseBusy)
    with database.write():
        pass
    assert len(writer_queue(database.engine)) == 0


def test_a_writer_waits_for_another_process_with_random_pauses(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(str(database.engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 20:
            other.execute("ROLLBACK")

    monkeypatch.setattr(session.time, "sleep", pause)
    with database.write():
        pass
    other.close()
    assert len(set(pauses)) > 10
    assert max(pauses) <= session.MAX_PAUSE_SECONDS


def test_a_forked_process_writes_while_its_parent_does(database: Database) -> None:
    queue = writer_queue(database.engine)
    with queue.turn(0):
        session._queues.clear()  # as after a fork
        with patience(0), database.write():
            pass
