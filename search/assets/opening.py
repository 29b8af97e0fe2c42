"""Opens the store of assets that the settings name."""

from anyseek.search.assets.base import AssetStore
from anyseek.search.assets.bucket import BucketAssetStore
from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.object_storage import Bucket
from anyseek.search.settings import Settings


def open_assets(settings: Settings) -> AssetStore:
    """The bucket of the settings, or else their folder. Nothing is connected or made until it is used."""
    return BucketAssetStore(Bucket(settings.bucket)) if settings.bucket else FolderAssetStore(settings.assets)
