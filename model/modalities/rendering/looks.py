"""Render maps, drawings, palettes and boxes as pictures, for an image encoder that was only trained on pictures.

Vectors depend on every pixel of these renderings. If you change one, raise `anyseek.model.encoders.preprocess.VERSION`.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from anyseek.model.modalities.drawings import ByteArray, ink, ink_as_picture
from anyseek.model.modalities.formats.boxes import LabelledBox
from anyseek.model.modalities.formats.color_palette import stripes
from anyseek.model.modalities.rendering.colours import class_colours, number_of_name
from anyseek.model.seam import FloatArray, Regions

SIDE = 224  # pixels, of what is drawn here and of what the bundled image encoder sees
_LINE = 4
_UNMEASURED, _FAR, _NEAR = 0, 40, 255


def colour_look(picture: ByteArray) -> ByteArray:
    """Pictures and normals: as they are."""
    return picture.astype(np.uint8)


def drawing_look(drawing: ByteArray) -> ByteArray:
    """Black ink on white paper: uint8 (H, W) of any polarity -> uint8 (H, W, 3)."""
    return ink_as_picture(ink(drawing.astype(np.uint8)))


def depth_look(depth: FloatArray) -> ByteArray:
    """Near is bright, far is dark, what was not measured is black: float32 (H, W) -> uint8 (H, W, 3)."""
    depth = depth.astype(np.float32)
    known = np.isfinite(depth)
    grey = np.full(depth.shape, _UNMEASURED, np.uint8)
    if known.any():
        near, far = np.percentile(depth[known], (1, 99))
        share = np.clip((depth[known] - near) / max(float(far - near), 1e-6), 0, 1)
        grey[known] = np.rint(_NEAR - share * (_NEAR - _FAR)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def regions_look(regions: Regions) -> ByteArray:
    """A fixed colour for each class name, and for each id that has none: uint8 (H, W, 3)."""
    classes = regions.classes
    ids, where = np.unique(regions.ids, return_inverse=True)
    numbers = [number_of_name(classes[number]) if number in classes else number for number in ids.tolist()]
    picture: ByteArray = class_colours(np.array(numbers))[where.reshape(regions.ids.shape)]
    return picture


def palette_look(palette: ByteArray) -> ByteArray | None:
    """Upright stripes: uint8 (224, 224, 3); None for a palette without a colour, as models may predict it."""
    return stripes(palette.astype(np.uint8), SIDE) if len(palette) else None


def boxes_look(boxes: Sequence[LabelledBox]) -> ByteArray:
    """Outlines on white, a colour for each class name: uint8 (224, 224, 3)."""
    image = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for labelled in boxes:
        left, right = sorted((labelled.box.xmin, labelled.box.xmax))
        top, bottom = sorted((labelled.box.ymin, labelled.box.ymax))
        red, green, blue = class_colours(np.array([number_of_name(labelled.label)]))[0].tolist()
        corners = [edge * (SIDE - 1) for edge in (left, top, right, bottom)]
        pen.rectangle(corners, outline=(red, green, blue), width=_LINE)
    return np.asarray(image)
