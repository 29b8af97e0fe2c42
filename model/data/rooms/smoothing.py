"""Normals of meshes that look smooth where the surface is meant to be, and keep their edges."""

import numpy as np
import numpy.typing as npt

from model.embedder import FloatArray

_CREASE = np.cos(np.deg2rad(35.0))  # faces that meet at a larger angle meet in an edge
_GRID = 1e-4  # metres within which corners are one vertex


def corner_normals(triangles: FloatArray) -> FloatArray:
    """Unit normals of the corners of triangles (n, 3, 3): the mean over the faces around, but not across edges.

    Faces are weighted by their area. The winding of a face decides to which side its normals point.
    """
    weighted = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    unit = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
    vertex = _vertices(triangles)
    order = np.argsort(vertex, kind="stable")
    starts = np.searchsorted(vertex[order], np.arange(vertex.max() + 2))
    counts = np.diff(starts)
    total = np.zeros((len(vertex), 3), np.float64)
    for step in range(int(counts.max())):
        # The step-th face around each corner's vertex, where there are so many.
        corners = np.flatnonzero(counts[vertex] > step)
        face = order[starts[vertex[corners]] + step] // 3
        agree = np.einsum("ij,ij->i", unit[corners // 3], unit[face])
        near = np.abs(agree) > _CREASE
        total[corners[near]] += weighted[face[near]] * np.sign(agree[near])[:, None]
    length = np.linalg.norm(total, axis=1, keepdims=True)
    smooth = np.where(length > 1e-12, total / np.maximum(length, 1e-12), unit.repeat(3, axis=0))
    return np.asarray(smooth.reshape(-1, 3, 3), np.float32)


def _vertices(triangles: FloatArray) -> npt.NDArray[np.int64]:
    """The vertex number of each corner, (3n,): corners at one place have one number."""
    places = np.rint(triangles.reshape(-1, 3) / _GRID).astype(np.int64)
    keys = (places[:, 0] * 73856093) ^ (places[:, 1] * 19349663) ^ (places[:, 2] * 83492791)
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)
