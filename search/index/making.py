"""From settings to the kind of FAISS index."""

from functools import partial

from search.index.faiss import FaissIndex
from search.index.kinds import Kind
from search.settings import Index
from search.space_index import MakeIndex


def index_maker(settings: Index) -> MakeIndex:
    """What makes the empty index of a dimension. Making it raises `GpuMissing` where a GPU is set and missing."""
    if settings.device == "gpu":
        return partial(FaissIndex, kind=Kind.GPU)
    return partial(FaissIndex, kind=None if settings.kind == "auto" else Kind(settings.kind))
