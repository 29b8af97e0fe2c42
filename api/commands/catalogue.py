"""The catalogue alone, for commands that need no model: they start at once."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyseek.search.catalogue.session import Database
    from anyseek.search.settings import Settings


@contextmanager
def opened_catalogue(settings: "Settings") -> Iterator["Database"]:
    """The catalogue of the data directory; both are made or upgraded as needed."""
    from anyseek.search.catalogue.upgrade import open_database

    with closing(open_database(settings)) as database:
        yield database
