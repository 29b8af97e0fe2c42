"""Caches the image encoder's output on disk by the content of pictures, so a set is encoded only once.

Each version of the encoders has its own SQLite file. Several processes may use it at a time; a process that is killed
loses only what it was about to add.
"""

import hashlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import FloatArray
from anyseek.search.errors import Conflict
from anyseek.search.evaluation.encoder_vectors import Encoders

MOST = 50_000  # pictures, 9 KB each
_WAIT_SECONDS = 30
_WIDTH = 1280  # numbers of the vector; behind them are the class logits
_TABLE = "CREATE TABLE IF NOT EXISTS pictures (key BLOB PRIMARY KEY, used REAL NOT NULL, numbers BLOB NOT NULL)"
_OLDEST = "DELETE FROM pictures WHERE key IN (SELECT key FROM pictures ORDER BY used LIMIT ?)"


class PictureCache:
    """The numbers of pictures by key; it keeps the `most` pictures used last."""

    def __init__(self, path: Path, most: int = MOST) -> None:
        """Open or create the file at `path`; replace a damaged one. Raises `Conflict`."""
        self._path, self._most = path, most
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._prepare()
        except sqlite3.OperationalError as error:
            raise Conflict(f"the cache of pictures {path} cannot be used: {error}") from error
        except sqlite3.DatabaseError:
            path.unlink()
            self._prepare()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, FloatArray]:
        """Return the float32 numbers of the keys that are in the cache."""
        found = {}
        with closing(self._open()) as database, database:
            for key in keys:
                row = database.execute("SELECT numbers FROM pictures WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = np.frombuffer(row[0], np.float32)
            now = time.time()
            database.executemany("UPDATE pictures SET used = ? WHERE key = ?", [(now, key) for key in found])
        return found

    def put(self, numbers: Mapping[bytes, FloatArray]) -> None:
        """Add numbers, and remove the least recently used."""
        now = time.time()
        with closing(self._open()) as database, database:
            rows = [(key, now, made.astype(np.float32).tobytes()) for key, made in numbers.items()]
            database.executemany("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)", rows)
            (count,) = database.execute("SELECT COUNT(*) FROM pictures").fetchone()
            database.execute(_OLDEST, (max(0, count - self._most),))

    def _prepare(self) -> None:
        with closing(self._open()) as database, database:
            database.execute(_TABLE)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_WAIT_SECONDS)


class CachedEncoders:
    """The encoders with a cache; the picture encoder runs only for pictures that are not in it."""

    def __init__(self, encoders: Encoders, cache: PictureCache) -> None:
        self._encoders, self._cache = encoders, cache

    def pictures(self, pictures: Sequence[ByteArray]) -> tuple[FloatArray, FloatArray]:
        """See `anyseek.model.encoders.baselines.Encoders.pictures`."""
        keys = [_key(picture) for picture in pictures]
        known = self._cache.get(keys)
        new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in known}
        if new:
            vectors, logits = self._encoders.pictures(list(new.values()))
            made = dict(zip(new, np.concatenate([vectors, logits], axis=1), strict=True))
            self._cache.put(made)
            known |= made
        numbers = np.stack([known[key] for key in keys])
        return numbers[:, :_WIDTH], numbers[:, _WIDTH:]

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        return self._encoders.sentences(texts)

    def conse(self, logits: FloatArray) -> FloatArray:
        return self._encoders.conse(logits)


def cached(encoders: Encoders, fingerprint: str, home: Path) -> CachedEncoders:
    """Return the encoders with the cache below `home` for their `fingerprint`. Raises `Conflict`."""
    path = home / "cache" / "evaluation" / f"pictures-{fingerprint[:16]}.sqlite"
    return CachedEncoders(encoders, PictureCache(path))


def _key(picture: ByteArray) -> bytes:
    told = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    told.update(picture.tobytes())
    return told.digest()
