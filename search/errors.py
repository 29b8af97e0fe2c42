"""Everything that `search` refuses or fails at, each with a stable code.

AnyseekError                 (`anyseek.model.errors`, with BadInput and LimitExceeded)
├── NotFound
│   ├── CollectionNotFound
│   ├── ItemNotFound
│   ├── AssetNotFound
│   ├── SpaceNotFound
│   └── JobNotFound
├── Conflict
│   ├── CollectionExists
│   ├── JobNotRetriable
│   ├── TargetNotEmpty       the place where a backup would be restored is not empty
│   ├── ItemChanged          an item is no longer the one that its reader saw
│   ├── KeyHeldElsewhere     another source already holds this key in the collection
│   └── FingerprintMismatch  the collection's vectors were made by other weights than those loaded
├── BadInput                 what the user sent cannot be understood
│   ├── BadQuery
│   │   ├── BadFilter        (`anyseek.search.filters.tree`) a query's filter
│   │   └── NotJoinable      parts that cannot go through the model together
│   ├── NotAligned           things to evaluate on have nothing in common to compare
│   └── LimitExceeded        more bytes, pixels, parts or hits than allowed
├── IndexUnavailable         no index can be searched now; the message says what to do
│   ├── GpuMissing           (`anyseek.search.spaces.local.candidates`)
│   ├── IndexUnreachable     (`anyseek.search.spaces.qdrant.backend`)
│   └── IndexBehind          (`anyseek.search.spaces.shared`) another process fills it for the first time
├── AssetChanged             an original is no longer the file that was indexed
├── QuotaExceeded            an API key would store more than it may
├── LeaseLost                another worker has taken over this one's work; nothing was written
├── BackupCorrupt            a file is cut short, damaged, or not a backup
├── BackupUnknown            a backup has a format or tables that this version does not know
├── StoreCorrupt             a stored file or a row is damaged
└── StorageUnavailable       the database or the disk does not do what it should now
(`anyseek.search.catalogue.failures`)
    ├── DatabaseBusy         another process holds it for too long
    ├── DatabaseFailed       anything else that it says
    ├── StorageFull          no space is left
    └── StorageReadOnly      it cannot be written
"""

from anyseek.model.errors import AnyseekError as AnyseekError
from anyseek.model.errors import BadInput as BadInput
from anyseek.model.errors import LimitExceeded as LimitExceeded


class NotFound(AnyseekError):
    code = "not-found"


class CollectionNotFound(NotFound):
    code = "collection-not-found"


class ItemNotFound(NotFound):
    code = "item-not-found"


class AssetNotFound(NotFound):
    code = "asset-not-found"


class AssetChanged(AnyseekError):
    code = "asset-changed"


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


class ItemChanged(Conflict):
    code = "item-changed"


class FingerprintMismatch(Conflict):
    code = "fingerprint-mismatch"


class BadQuery(BadInput):
    code = "bad-query"


class NotJoinable(BadQuery):
    code = "not-joinable"


class NotAligned(BadInput):
    code = "not-aligned"


class IndexUnavailable(AnyseekError):
    code = "index-unavailable"


class QuotaExceeded(AnyseekError):
    code = "quota-exceeded"


class LeaseLost(AnyseekError):
    code = "lease-lost"


class StoreCorrupt(AnyseekError):
    code = "store-corrupt"


class StorageUnavailable(AnyseekError):
    code = "storage-unavailable"


class DatabaseBusy(StorageUnavailable):
    code = "database-busy"


class DatabaseFailed(StorageUnavailable):
    code = "database-failed"


class StorageFull(StorageUnavailable):
    code = "storage-full"


class StorageReadOnly(StorageUnavailable):
    code = "storage-read-only"


class BackupCorrupt(AnyseekError):
    code = "backup-corrupt"


class BackupUnknown(AnyseekError):
    code = "backup-unknown"


class TargetNotEmpty(Conflict):
    code = "target-not-empty"
