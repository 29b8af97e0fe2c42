"""Translation of failures of the database or the disk into Anyseek's own errors, the only ones that callers see.

`meaning` is asked where commands and requests end, and `sentence` where an error is logged or recorded. In between,
SQLAlchemy's errors stay as they are, because jobs tell by them what is worth trying again.
"""

import errno
import re

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from anyseek.search.errors import (
    AnyseekError,
    BadInput,
    DatabaseBusy,
    DatabaseFailed,
    StorageFull,
    StorageReadOnly,
    StoreCorrupt,
)

# SQLAlchemy ends each message with a link to its own documentation.
_LINK = re.compile(r"\s*\(Background on this error at: \S*\)")
_FULL, _READ_ONLY = (errno.ENOSPC, errno.EDQUOT), (errno.EROFS,)
# Parts of what SQLite and PostgreSQL say, in small letters; the first that fits decides.
_SAID: tuple[tuple[str, type[AnyseekError], str], ...] = (
    ("is locked", DatabaseBusy, "another process holds the database; try again in a moment"),
    ("lock timeout", DatabaseBusy, "another process holds the database; try again in a moment"),
    ("disk is full", StorageFull, "the disk of the database is full; make room, then try again"),
    ("no space left", StorageFull, "the disk of the database is full; make room, then try again"),
    ("readonly database", StorageReadOnly, "the database cannot be written; check its file, its folder and the disk"),
    ("read-only", StorageReadOnly, "the database cannot be written; check its file, its folder and the disk"),
    ("unable to open", StorageReadOnly, "the database cannot be opened; check that its folder can be written"),
    ("nul (0x00)", BadInput, "a text has a NUL, which the database cannot store or look for"),
    ("malformed", StoreCorrupt, "the database is damaged; anyseek verify says where, or restore a backup"),
    ("not a database", StoreCorrupt, "the database is damaged beyond reading; restore a backup"),
    ("could not decode", StoreCorrupt, "the database is damaged; anyseek verify says where, or restore a backup"),
    ("file is encrypted", StoreCorrupt, "the database is damaged beyond reading; restore a backup"),
    ("unsupported file format", StoreCorrupt, "the database is damaged beyond reading; restore a backup"),
)


def meaning(error: BaseException) -> AnyseekError | None:
    """The error of our own that a failure of the database or the disk stands for; None for any other error."""
    if isinstance(error, SQLAlchemyError):
        said = without_link(str(error.orig if isinstance(error, DBAPIError) else error))
        for part, kind, sentence in _SAID:
            if part in said.lower():
                return kind(sentence)
        return DatabaseFailed(f"the database failed: {said.splitlines()[0][:200] if said else type(error).__name__}")
    if isinstance(error, OSError) and error.errno in _FULL:
        return StorageFull("the disk is full; make room, then try again")
    if isinstance(error, OSError) and error.errno in _READ_ONLY:
        return StorageReadOnly("the data directory is on a disk that cannot be written")
    return None


def sentence(error: BaseException) -> str:
    """What an error says to a person: the meaning of a failure of the database, the message of any other error."""
    return str(meaning(error) if isinstance(error, SQLAlchemyError) else error)


def without_link(text: str) -> str:
    """The text without SQLAlchemy's links to its own documentation."""
    return _LINK.sub("", text)
