"""A value of every modality that published networks take."""

import numpy as np

from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint
from anyseek.model.modalities.formats.spans import TextStates
from anyseek.model.seam import Regions, Value

_RANDOM = np.random.default_rng(0)


def _floats(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return _RANDOM.standard_normal(shape).astype(np.float32)


PICTURE = _RANDOM.integers(0, 256, (90, 120, 3)).astype(np.uint8)
PERSON = HumanPose(Box(0.0, 0.25, 0.5, 1.0), (0, 1, 2, 3, 512, 600, 700, 1023), (0.5,) * 9, (1.0,) * 3, (0.0,) * 10)
MASK = MaskInstance(Box(10.0, 20.0, 110.0, 60.0), tuple(range(500, 516)))

VALUES: dict[str, Value] = {
    "rgb": PICTURE,
    "depth": np.linspace(1, 9, 80 * 90, dtype=np.float32).reshape(80, 90),
    "normal": PICTURE,
    "semseg": Regions(_RANDOM.integers(0, 134, (70, 60))),
    "canny_edge": np.where(np.eye(64) > 0, 255, 0).astype(np.uint8),
    "sam_edge": np.where(np.eye(64) > 0, 0, 255).astype(np.uint8),
    "clip": _floats(512, 14, 14),
    "dinov2": _floats(768, 16, 16),
    "imagebind": _floats(1280, 16, 16),
    "dinov2_global": _floats(768),
    "imagebind_global": _floats(1280),
    "caption": "a red bus",
    "t5_caption": TextStates(_floats(5, 4096)),
    "bounding_boxes": (LabelledBox(Box(0.1, 0.2, 0.3, 0.4), "bus"), LabelledBox(Box(0.5, 0.5, 1.0, 1.0), "hot dog")),
    "metadata": Metadata({"brightness": 100.0, "n_humans": 2}),
    "color_palette": np.array([[255, 0, 0], [0, 0, 255]], np.uint8),
    "human_pose": (PERSON,),
    "sam_instance": (QueryPoint(3, 200), QueryPoint(30, 60, (MASK,))),
}
