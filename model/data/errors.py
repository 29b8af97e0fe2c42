"""Errors raised while building or reading training data."""

from anyseek.model.errors import ModelError


class DataError(ModelError):
    """Anything that goes wrong in `anyseek.model.data`."""

    code = "data-error"


class RecipeInvalid(DataError):
    code = "recipe-invalid"  # an unknown key, a wrong type, or a name of what does not exist


class SourceUnavailable(DataError):
    code = "source-unavailable"  # a source's files cannot be fetched or found


class SampleInvalid(DataError):
    code = "sample-invalid"  # one sample of a source, or one value of it, is not what it should be


class ShardCorrupt(DataError):
    code = "shard-corrupt"  # a shard is cut off, or not what the manifest says


class DataSetInvalid(DataError):
    code = "data-set-invalid"  # a folder holds no whole data set


class BuildConflict(DataError):
    code = "build-conflict"  # a folder holds another data set, or is being built by another process
