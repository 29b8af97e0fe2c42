"""Everything that `search` refuses or fails at, each with a stable code; see also `anyseek.model.errors`."""

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
    """An original is no longer the file that was indexed."""

    code = "asset-changed"


class SpaceNotFound(NotFound):
    code = "space-not-found"


class JobNotFound(NotFound):
    code = "job-not-found"


class Conflict(AnyseekError):
    code = "conflict"


class CollectionExists(Conflict):
    code = "collection-exists"


class JobDeleted(JobNotFound):
    """A job went with its collection while it ran."""

    code = "job-deleted"


class JobNotRetriable(Conflict):
    code = "job-not-retriable"


class KeyHeldElsewhere(Conflict):
    """Another source already holds this key in the collection."""

    code = "key-held-elsewhere"


class ItemChanged(Conflict):
    """An item is no longer the one that its reader saw."""

    code = "item-changed"


class FingerprintMismatch(Conflict):
    """The vectors of the collection were made by other weights than those loaded."""

    code = "fingerprint-mismatch"


class BadQuery(BadInput):
    """A query cannot be understood."""

    code = "bad-query"


class NotJoinable(BadQuery):
    """Parts of a query cannot go through the model together."""

    code = "not-joinable"


class NotAligned(BadInput):
    """Things to evaluate on have nothing in common to compare."""

    code = "not-aligned"


class IndexUnavailable(AnyseekError):
    """No index can be searched now; the message says what to do."""

    code = "index-unavailable"


class QuotaExceeded(AnyseekError):
    """An API key would store more than it may."""

    code = "quota-exceeded"


class LeaseLost(AnyseekError):
    """Another worker has taken over this one's work; nothing was written."""

    code = "lease-lost"


class StoreCorrupt(AnyseekError):
    """A stored file or a row is damaged."""

    code = "store-corrupt"


class StorageUnavailable(AnyseekError):
    """The database or the disk does not do what it should (`anyseek.search.catalogue.failures`)."""

    code = "storage-unavailable"


class DatabaseBusy(StorageUnavailable):
    code = "database-busy"


class DatabaseFailed(StorageUnavailable):
    code = "database-failed"


class StorageFull(StorageUnavailable):
    code = "storage-full"


class StorageReadOnly(StorageUnavailable):
    code = "storage-read-only"


class CatalogueUnknown(AnyseekError):
    """The database has tables that this version does not know."""

    code = "catalogue-unknown"


class BackupCorrupt(AnyseekError):
    """A file is cut short, damaged, or not a backup."""

    code = "backup-corrupt"


class BackupUnknown(AnyseekError):
    """A backup has a format or tables that this version does not know."""

    code = "backup-unknown"


class TargetNotEmpty(Conflict):
    """The place where a backup would be restored is not empty."""

    code = "target-not-empty"
