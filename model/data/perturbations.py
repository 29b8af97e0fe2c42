"""Random perturbations that make values look like users' own: noisy, partial, differently drawn, with other ids.

People draw with thick or thin strokes, tilted and wobbly. The rest of the sample is unchanged, so a network learns
that the perturbed value means the same. NumPy and Pillow, seeded generators.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from anyseek.model.modalities.drawings import ByteArray, ink, square
from anyseek.model.modalities.rendering.renderers import SIDE
from anyseek.model.seam import FloatArray, Regions

FloatMap = npt.NDArray[np.float32]

_HALF = 128


def perturb_rgb(picture: ByteArray, generator: np.random.Generator) -> ByteArray:
    """A picture tilted, scaled, shifted, in other light, on white or other paper; cropped with probability 0.3."""
    if generator.random() < 0.3:
        height, width = (max(int(side * generator.uniform(0.6, 1)), 1) for side in picture.shape[:2])
        top, left = (
            int(generator.integers(0, n - m + 1)) for n, m in zip(picture.shape, (height, width), strict=False)
        )
        picture = picture[top : top + height, left : left + width]
    inverted = _warp(255 - square(picture, SIDE, 255), generator, tilt=12.0, wobble=0.0)
    light = generator.uniform(0.85, 1.15, size=3) * generator.uniform(0.85, 1.1)
    paper = 255.0 if generator.random() < 0.5 else generator.uniform(120, 255, size=3)
    perturbed = (255 - inverted.astype(np.float32)) / 255.0 * (paper if generator.random() < 0.5 else 255.0)
    return np.clip(perturbed * light, 0, 255).astype(np.uint8)


def perturb_ink(drawing: ByteArray, generator: np.random.Generator) -> ByteArray:
    """A drawing with another stroke width, wobble and tilt; sometimes filled, partly erased, or dark on light."""
    strength = ink(drawing)
    if generator.random() < 0.15:
        strength = fill_outlines(strength)
    image = Image.fromarray(strength)
    stroke = int(generator.choice([0, 0, 3, 3, 5]))
    if stroke:
        image = image.filter(ImageFilter.MaxFilter(stroke))
    elif generator.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.5, 1.2))))
    wobble = float(generator.choice([0.0, 2.0, 4.0]))
    strength = _warp(np.asarray(image), generator, tilt=15.0, wobble=wobble)
    if generator.random() < 0.2:  # without a rectangle of up to 40% of each side
        height, width = strength.shape
        tall, wide = int(height * generator.uniform(0.1, 0.4)), int(width * generator.uniform(0.1, 0.4))
        top, left = int(generator.integers(0, height - tall + 1)), int(generator.integers(0, width - wide + 1))
        rest = strength.copy()
        rest[top : top + tall, left : left + wide] = 0
        strength = rest if rest.any() else strength
    return 255 - strength if generator.random() < 0.5 else strength


def perturb_depth(depth: FloatArray, generator: np.random.Generator) -> FloatArray:
    """A depth map with a sensor's noise, quantisation and holes, in another unit."""
    measured = np.isfinite(depth)
    if not measured.any():
        return depth
    noisy = depth * generator.uniform(0.2, 5.0)
    noisy *= 1 + generator.normal(0, generator.uniform(0, 0.03), depth.shape)
    step = float(np.nanmax(noisy)) / generator.choice([32, 128, 1024])
    stepped = np.maximum(np.rint(noisy / step), 1) * step
    # Holes are where a smooth random field is high, up to a quarter of all pixels, and single pixels.
    field = _smooth_field(generator, (depth.shape[0], depth.shape[1]), 1.0)
    share = generator.uniform(0, 0.25)
    stepped[(field > np.quantile(field, 1 - share)) | (generator.random(depth.shape) < 0.01)] = np.nan
    return stepped.astype(np.float32) if np.isfinite(stepped).any() else depth


def perturb_regions(regions: Regions, generator: np.random.Generator) -> Regions:
    """Regions with random ids and no names half of the time, coarser outlines half of the time, some ids removed."""
    ids = regions.ids
    if generator.random() < 0.5:
        step = int(generator.integers(2, 6))
        coarse = ids[::step, ::step].repeat(step, axis=0).repeat(step, axis=1)
        ids = coarse[: ids.shape[0], : ids.shape[1]]
    classes = dict(regions.classes)
    present = np.unique(ids)
    left_out = present[generator.random(len(present)) < 0.1]
    ids = np.where(np.isin(ids, left_out), 0, ids) if len(left_out) < len(present) else ids
    if generator.random() < 0.5:
        table = generator.permutation(256)
        ids, classes = table[ids % 256], {}
    return Regions(ids.astype(np.int32), classes)


def fill_outlines(strength: ByteArray) -> ByteArray:
    """Ink uint8 (H, W) with all enclosed areas filled; open outlines stay unchanged."""
    walls = Image.fromarray(np.pad((strength >= _HALF).astype(np.uint8) * 255, 1)).copy()  # writable
    ImageDraw.floodfill(walls, (0, 0), 1)
    inside = np.asarray(walls)[1:-1, 1:-1] != 1
    return np.where(inside, 255, strength).astype(np.uint8)


def _warp(image: ByteArray, generator: np.random.Generator, tilt: float, wobble: float) -> ByteArray:
    """Resample by a random affine map and a smooth random displacement of `wobble` pixels; outside is 0."""
    height, width = image.shape[:2]
    angle, scale = np.deg2rad(generator.uniform(-tilt, tilt)), generator.uniform(0.75, 1.1)
    stretch = generator.uniform(0.9, 1.1)
    shift = generator.uniform(-0.06, 0.06, size=2) * (height, width)
    rows, columns = np.indices((height, width), np.float32)
    y, x = (rows - height / 2 - shift[0]) / scale, (columns - width / 2 - shift[1]) / (scale * stretch)
    from_y = np.cos(angle) * y - np.sin(angle) * x + height / 2 + _smooth_field(generator, (height, width), wobble)
    from_x = np.sin(angle) * y + np.cos(angle) * x + width / 2 + _smooth_field(generator, (height, width), wobble)
    return _sample(image, from_y, from_x)


def _smooth_field(generator: np.random.Generator, shape: tuple[int, int], size: float) -> FloatMap:
    """A smooth random field with deviation `size`: noise on 7 x 7 points, upsampled."""
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
