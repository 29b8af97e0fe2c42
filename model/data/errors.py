"""Errors raised while building or reading training data."""

from anyseek.model.errors import ModelError


class DataError(ModelError):
    """The base class of the errors of `anyseek.model.data`."""

    code = "data-error"


class RecipeInvalid(DataError):
    code = "recipe-invalid"  # an unknown key, a wrong type, or an unknown name


class SourceUnavailable(DataError):
    code = "source-unavailable"  # a source's files cannot be fetched or found


class SampleInvalid(DataError):
    code = "sample-invalid"  # a sample of a source, or one of its values, is invalid


class ShardCorrupt(DataError):
    code = "shard-corrupt"  # a shard is truncated, or does not match the manifest


class DataSetInvalid(DataError):
    code = "data-set-invalid"  # a folder has no complete data set


class BuildConflict(DataError):
    code = "build-conflict"  # a folder has another data set, or another process builds in it
