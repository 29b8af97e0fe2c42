"""Everything that `search` refuses or fails at, each with a stable code.

AnyseekError
├── NotFound
│   ├── CollectionNotFound
│   ├── ItemNotFound
│   ├── AssetNotFound
│   ├── SpaceNotFound
│   └── JobNotFound
├── Conflict
│   ├── CollectionExists
│   ├── JobNotRetriable
│   ├── KeyHeldElsewhere     another source already holds this key in the collection
│   └── FingerprintMismatch  the collection's vectors were made by other weights than those loaded
├── BadInput                 what the user sent cannot be understood
│   ├── BadQuery
│   │   ├── BadFilter        (`search.filters.tree`) a query's filter
│   │   └── NotJoinable      parts that cannot go through the model together
│   ├── NotAligned           things to evaluate on that have nothing in common to compare
│   └── LimitExceeded        more bytes, pixels, parts or hits than allowed
├── IndexUnavailable         there is no index to search in now; its sentence says what to do
│   ├── GpuMissing           (`search.index.gpu`)
│   ├── IndexUnreachable     (`search.index.qdrant`)
│   └── IndexBehind          (`search.qdrant_space`) another process fills it for the first time
├── LeaseLost                another worker took over what this one was doing; nothing was written
└── StoreCorrupt             a stored file is not what the catalogue says it is
"""

from typing import ClassVar


class AnyseekError(Exception):
    """A refusal in one sentence: names the input, what is wrong with it, and what would be right."""

    code: ClassVar[str] = "error"


class NotFound(AnyseekError):
    code = "not-found"


class CollectionNotFound(NotFound):
    code = "collection-not-found"


class ItemNotFound(NotFound):
    code = "item-not-found"


class AssetNotFound(NotFound):
    code = "asset-not-found"


class SpaceNotFound(NotFound):
    code = "space-not-found"


class JobNotFound(NotFound):
    code = "job-not-found"


class Conflict(AnyseekError):
    code = "conflict"


class CollectionExists(Conflict):
    code = "collection-exists"


class JobNotRetriable(Conflict):
    code = "job-not-retriable"


class KeyHeldElsewhere(Conflict):
    code = "key-held-elsewhere"


class FingerprintMismatch(Conflict):
    code = "fingerprint-mismatch"


class BadInput(AnyseekError):
    code = "bad-input"


class BadQuery(BadInput):
    code = "bad-query"


class NotJoinable(BadQuery):
    code = "not-joinable"


class NotAligned(BadInput):
    code = "not-aligned"


class LimitExceeded(BadInput):
    code = "limit-exceeded"


class IndexUnavailable(AnyseekError):
    code = "index-unavailable"


class LeaseLost(AnyseekError):
    code = "lease-lost"


class StoreCorrupt(AnyseekError):
    code = "store-corrupt"
