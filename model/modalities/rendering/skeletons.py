"""Draw stick figures for predicted human poses.

A pose is 23 rotations, one for each joint of SMPL's tree below the pelvis, and one rotation of the whole body into the
camera's axes (x right, y down, z away). It does not say where the joints lie on a body, and SMPL's own measurements are
not free. So the figure has the proportions of an average adult (segment lengths as shares of height, after Drillis and
Contini, 1966), fitted into the person's box. It shows how the limbs are turned, not how tall or broad the person is.
"""

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.formats.boxes import Box

FloatArray64 = npt.NDArray[np.float64]

# Joint 0 is the pelvis; each joint's parent, in SMPL's order.
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21, 15)
LEFT = frozenset({1, 4, 7, 10, 13, 16, 18, 20, 22})
RIGHT = frozenset({2, 5, 8, 11, 14, 17, 19, 21, 23})
HEAD, CROWN = 15, 24  # the crown is no joint of SMPL's; it ends the figure

# From parent to joint on a body that stands with its arms out: x to its own left, y up, z to its front.
_OFFSETS = np.array(
    [
        (0, 0, 0),
        (0.055, -0.03, 0),
        (-0.055, -0.03, 0),
        (0, 0.07, 0),
        (0.01, -0.245, 0),
        (-0.01, -0.245, 0),
        (0, 0.08, 0),
        (0, -0.246, 0),
        (0, -0.246, 0),
        (0, 0.04, 0),
        (0, -0.03, 0.09),
        (0, -0.03, 0.09),
        (0, 0.13, 0),
        (0.045, 0.08, 0),
        (-0.045, 0.08, 0),
        (0, 0.055, 0.02),
        (0.084, 0.01, 0),
        (-0.084, 0.01, 0),
        (0.186, 0, 0),
        (-0.186, 0, 0),
        (0.146, 0, 0),
        (-0.146, 0, 0),
        (0.054, 0, 0),
        (-0.054, 0, 0),
        (0, 0.075, 0.01),
    ]
)


def joints(rotations: npt.NDArray[np.float32], body: FloatArray64) -> FloatArray64:
    """Where the joints and the crown are in the camera's axes, in shares of body height: float64 (25, 3), the pelvis
    at 0.

    `rotations` (23, 3, 3) turn each joint against its parent, `body` (3, 3) the whole; of a predicted matrix that is
    no rotation the nearest one counts.
    """
    turned = np.concatenate([body[None], rotations.astype(np.float64), np.eye(3)[None]])
    turned = _nearest_rotations(turned)
    places = np.zeros((len(PARENTS), 3))
    for joint, parent in enumerate(PARENTS[1:], 1):
        places[joint] = places[parent] + turned[parent] @ _OFFSETS[joint]
        turned[joint] = turned[parent] @ turned[joint]
    return places


def fitted(places: FloatArray64, box: Box) -> tuple[FloatArray64, float]:
    """Joints (n, 3) as points x, y in [0, 1] of the picture, as large as fits into the box, in its middle: (n, 2).

    The second value is the resulting body height, in shares of the picture.
    """
    flat = places[:, :2]
    low, high = flat.min(axis=0), flat.max(axis=0)
    corners = np.array([[box.xmin, box.ymin], [box.xmax, box.ymax]])
    room = np.abs(corners[1] - corners[0])
    scale = float((room / np.maximum(high - low, 1e-6)).min())
    return (flat - (low + high) / 2) * scale + corners.mean(axis=0), scale


def _nearest_rotations(matrices: FloatArray64) -> FloatArray64:
    """Matrices (n, 3, 3) without their stretch, and without mirroring."""
    left, _, right = np.linalg.svd(matrices)
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    nearest: FloatArray64 = left @ right
    return nearest
