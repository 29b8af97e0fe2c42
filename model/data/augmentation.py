"""Small changes to drawings and pictures: numpy and Pillow, seeded generators.

People draw with thick or thin strokes, tilted and wobbly; training sees line art and edges with such changes.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from model.drawing import ByteArray

FloatMap = npt.NDArray[np.float32]


def change_drawing(strength: ByteArray, generator: np.random.Generator) -> ByteArray:
    """Ink uint8 (H, W) with other stroke widths, a wobbling hand, a tilt, another size and place."""
    image = Image.fromarray(strength)
    width = int(generator.choice([0, 0, 3, 3, 5]))
    if width:
        image = image.filter(ImageFilter.MaxFilter(width))
    elif generator.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.5, 1.2))))
    return _warp(np.asarray(image), generator, tilt=15.0, wobble=float(generator.choice([0.0, 2.0, 4.0])))


def change_picture(picture: ByteArray, generator: np.random.Generator) -> ByteArray:
    """uint8 (H, W, 3) tilted, scaled and moved a little, in other light, on white or another paper."""
    inverted = _warp(255 - picture, generator, tilt=12.0, wobble=0.0)
    light = generator.uniform(0.85, 1.15, size=3) * generator.uniform(0.85, 1.1)
    paper = 255.0 if generator.random() < 0.5 else generator.uniform(120, 255, size=3)
    changed = (255 - inverted.astype(np.float32)) / 255.0 * (paper if generator.random() < 0.5 else 255.0)
    return np.clip(changed * light, 0, 255).astype(np.uint8)


def _warp(image: ByteArray, generator: np.random.Generator, tilt: float, wobble: float) -> ByteArray:
    """Resample by a random affine map and a smooth random displacement of `wobble` pixels; outside is 0."""
    height, width = image.shape[:2]
    angle, scale = np.deg2rad(generator.uniform(-tilt, tilt)), generator.uniform(0.75, 1.1)
    stretch = generator.uniform(0.9, 1.1)
    shift = generator.uniform(-0.06, 0.06, size=2) * (height, width)
    rows, columns = np.indices((height, width), np.float32)
    y, x = (rows - height / 2 - shift[0]) / scale, (columns - width / 2 - shift[1]) / (scale * stretch)
    from_y = np.cos(angle) * y - np.sin(angle) * x + height / 2 + smooth_field(generator, (height, width), wobble)
    from_x = np.sin(angle) * y + np.cos(angle) * x + width / 2 + smooth_field(generator, (height, width), wobble)
    return _sample(image, from_y, from_x)


def smooth_field(generator: np.random.Generator, shape: tuple[int, int], size: float) -> FloatMap:
    """A smooth random field with deviation `size`: noise on 7 x 7 points, enlarged."""
    coarse = Image.fromarray(generator.normal(0.0, size, (7, 7)).astype(np.float32))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _sample(image: ByteArray, rows: np.ndarray, columns: np.ndarray) -> ByteArray:
    """Bilinear values of `image` at float positions; 0 outside."""
    padding = ((1, 2), (1, 2)) + ((0, 0),) * (image.ndim - 2)
    padded = np.pad(image, padding).astype(np.float32)
    rows = np.clip(rows + 1, 0, image.shape[0] + 1)
    columns = np.clip(columns + 1, 0, image.shape[1] + 1)
    top, left = rows.astype(np.int64), columns.astype(np.int64)
    down, right = rows - top, columns - left
    if image.ndim == 3:
        down, right = down[..., None], right[..., None]
    upper = padded[top, left] * (1 - right) + padded[top, left + 1] * right
    lower = padded[top + 1, left] * (1 - right) + padded[top + 1, left + 1] * right
    return np.rint(upper * (1 - down) + lower * down).astype(np.uint8)
