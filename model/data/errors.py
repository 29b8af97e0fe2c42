"""Errors raised while building or reading training data."""

from anyseek.model.errors import ModelError


class DataError(ModelError):
    """Anything that goes wrong in `anyseek.model.data`.

    DataError
    ├── RecipeInvalid      a recipe has an unknown key, a wrong type or names something that does not exist
    ├── SourceUnavailable  a source's files cannot be fetched or found
    ├── SampleInvalid      one sample of a source, or one value of it, is not what it should be
    ├── ShardCorrupt       a shard is cut off, or not what the manifest says
    ├── DataSetInvalid     a folder holds no whole data set
    └── BuildConflict      a folder already holds another data set, or is being built by another process
    """

    code = "data-error"


class RecipeInvalid(DataError):
    code = "recipe-invalid"


class SourceUnavailable(DataError):
    code = "source-unavailable"


class SampleInvalid(DataError):
    code = "sample-invalid"


class ShardCorrupt(DataError):
    code = "shard-corrupt"


class DataSetInvalid(DataError):
    code = "data-set-invalid"


class BuildConflict(DataError):
    code = "build-conflict"
