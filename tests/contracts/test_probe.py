"""A probe reads and writes the catalogue as others do, leaves nothing, and does not wait for long."""

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from anyseek.search.catalogue import figures
from anyseek.search.catalogue.failures import translate_error
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import OwnerRow
from anyseek.search.errors import DatabaseBusy
from anyseek.search.types import Collection


def test_it_leaves_nothing_behind(database: Database, collection: Collection) -> None:
    assert figures.probe_read(database) == 1
    figures.probe_write(database)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(OwnerRow)) == 0


def test_it_gives_up_on_a_lock_after_its_patience(database: Database) -> None:
    impatient = Database(database.engine.url.render_as_string(hide_password=False), patience_seconds=1)
    with database.write() as session:
        if database.engine.dialect.name == "postgresql":
            session.execute(text("LOCK TABLE owners IN ACCESS EXCLUSIVE MODE"))
        assert figures.probe_read(impatient) == 0, "reading goes on"
        with pytest.raises(OperationalError) as refused:
            figures.probe_write(impatient)
    assert isinstance(translate_error(refused.value), DatabaseBusy)
    figures.probe_write(impatient)
    impatient.close()
