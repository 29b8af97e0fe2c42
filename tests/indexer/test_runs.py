"""Who counts as alive: on this machine by a lock, elsewhere and when it hangs by its silence."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from anyseek.indexer.runs import Owner, place
from anyseek.search.catalogue import leases
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import OwnerRow
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.settings import Settings, Work
from tests.forked import begun, exit_code

SHORT = Work(lease_seconds=0.4)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, work=SHORT)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url)
    upgrade(database)
    yield database
    database.close()


def lives(database: Database, settings: Settings, name: str) -> bool:
    with database.read() as session:
        return Owner(database, settings).liveness_check(session)(name)


def test_an_owner_lives_while_it_works_however_long(database: Database, settings: Settings) -> None:
    patient = replace(settings, work=Work(lease_seconds=1))
    with Owner(database, patient) as owner:
        assert lives(database, patient, owner.name)
        time.sleep(1.5)
        assert lives(database, patient, owner.name)
    assert not lives(database, patient, owner.name)
    assert not list(settings.locks.glob("owner-*"))
    with database.read() as session:
        assert session.scalars(select(OwnerRow)).all() == []


def die_owning(home: Path) -> None:
    settings = Settings(home)
    with Owner(Database(settings.database_url), settings) as owner:
        (home / "owner").write_text(owner.name)
        os.kill(os.getpid(), signal.SIGKILL)


def test_one_that_was_killed_is_dead_at_once(database: Database, settings: Settings) -> None:
    assert exit_code(begun(die_owning, settings.home)) == -signal.SIGKILL
    name = (settings.home / "owner").read_text()
    with database.read() as session:
        assert leases.is_registered(session, name), "it was not silent for long enough yet"
    assert not lives(database, settings, name)


def test_one_that_hangs_is_dead_though_its_lock_is_held(database: Database, settings: Settings) -> None:
    with Owner(database, settings) as owner:
        owner._closed.set()  # its renewals stop, as those of a process that is stopped do
        owner._renewal.join()
        time.sleep(0.5)
        assert not lives(database, settings, owner.name)


def test_one_of_another_machine_lives_until_it_is_silent_and_is_forgotten_later(
    database: Database, settings: Settings
) -> None:
    """No lock of it is seen here, which says nothing."""
    with database.write() as session:
        for name, hours in (("elsewhere.1", 1), ("elsewhere.2", -1), ("elsewhere.3", -48)):
            leases.renew(session, name, timedelta(hours=hours))
    names = [f"elsewhere.{number}" for number in range(1, 5)]
    assert [name for name in names if lives(database, settings, name)] == ["elsewhere.1"]
    with Owner(database, settings):
        pass
    with database.read() as session:
        assert sorted(session.scalars(select(OwnerRow.name))) == ["elsewhere.1", "elsewhere.2"]


def test_a_place_is_a_folder_on_a_kernel(tmp_path: Path) -> None:
    assert place(tmp_path / "a") == place(tmp_path / "a")
    assert place(tmp_path / "a") != place(tmp_path / "b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["identity"]
