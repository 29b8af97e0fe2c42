"""Translation of failures of the database or the disk into Anyseek's own errors, the only ones that callers see.

Commands and requests end with `translate_error`; logs and records use `error_message`. In between, SQLAlchemy's errors
are not translated, because jobs decide by them what to retry.
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
# Substrings of messages of SQLite and PostgreSQL in lower case; the first match decides.
_PATTERNS: tuple[tuple[str, type[AnyseekError], str], ...] = (
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


def translate_error(error: BaseException) -> AnyseekError | None:
    """Anyseek's error for a failure of the database or the disk; None for any other error."""
    if isinstance(error, SQLAlchemyError):
        message = strip_link(str(error.orig if isinstance(error, DBAPIError) else error))
        for pattern, kind, translation in _PATTERNS:
            if pattern in message.lower():
                return kind(translation)
        first_line = message.splitlines()[0][:200] if message else type(error).__name__
        return DatabaseFailed(f"the database failed: {first_line}")
    if isinstance(error, OSError) and error.errno in _FULL:
        return StorageFull("the disk is full; make room, then try again")
    if isinstance(error, OSError) and error.errno in _READ_ONLY:
        return StorageReadOnly("the data directory is on a disk that cannot be written")
    return None


def error_message(error: BaseException) -> str:
    """The message of an error for people; failures of the database are translated first."""
    return str(translate_error(error) if isinstance(error, SQLAlchemyError) else error)


def strip_link(text: str) -> str:
    """The text without SQLAlchemy's links to its own documentation."""
    return _LINK.sub("", text)
