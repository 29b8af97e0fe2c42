"""Ids and vectors in one NPZ file: the snapshot of an index that has no file format of its own."""

from pathlib import Path

import numpy as np

from model.embedder import FloatArray
from search.types import IdArray


def write_vectors(path: Path, ids: IdArray, vectors: FloatArray) -> None:
    with path.open("wb") as file:
        np.savez(file, ids=ids, vectors=vectors)


def read_vectors(path: Path) -> tuple[IdArray, FloatArray]:
    with np.load(path, allow_pickle=False) as stored:
        return stored["ids"], stored["vectors"]
