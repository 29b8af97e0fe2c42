"""Photographs of drawings, made of clean ones: paper, pen, light, the table, the camera's slant, noise and JPEG."""

import io

import numpy as np
from PIL import Image, ImageFilter

from anyseek.model.modalities.drawings import ByteArray, ink
from anyseek.model.seam import FloatArray

_SHEET, _WIDTH, _HEIGHT = 400, 640, 480
_PENS = ((25, 25, 30), (30, 50, 160), (190, 30, 40), (20, 120, 60), (95, 95, 100))  # black, blue, red, green, pencil
_PAPERS = ((250, 250, 248), (240, 236, 222), (228, 230, 235))
_TABLES = ((120, 82, 52), (60, 62, 70), (150, 120, 92), (84, 104, 84))


def photographed(drawing: ByteArray, draws: np.random.Generator) -> bytes:
    """A photograph of 640 x 480 pixels as JPEG of a drawing (H, W) on paper at a slant, as `draws` has it.

    Half of them show the table around the paper, in the others the paper goes on; a quarter are on ruled paper.
    """
    sheet = _sheet(drawing, draws)
    corners = np.array([(110, 30), (530, 30), (530, 450), (110, 450)]) + draws.uniform(-28, 28, (4, 2))
    numbers = _perspective(corners, np.array([(0, 0), (_SHEET, 0), (_SHEET, _SHEET), (0, _SHEET)]))
    around = tuple(sheet.getpixel((2, 2)) if draws.random() < 0.5 else _TABLES[draws.integers(len(_TABLES))])
    photo = sheet.transform(
        (_WIDTH, _HEIGHT), Image.Transform.PERSPECTIVE, numbers, Image.Resampling.BICUBIC, fillcolor=around
    )
    noise = draws.normal(0, draws.uniform(2, 6), (_HEIGHT, _WIDTH, 3))
    noisy = np.asarray(photo, np.float32) * _light(draws)[:, :, None] + noise
    stream = io.BytesIO()
    picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(draws.uniform(0, 0.9))
    )
    picture.save(stream, "JPEG", quality=int(draws.integers(60, 90)))
    return stream.getvalue()


def _sheet(drawing: ByteArray, draws: np.random.Generator) -> Image.Image:
    """The drawing by a pen of some colour on paper of some shade."""
    strokes = Image.fromarray(ink(drawing)).resize((_SHEET * 3 // 5,) * 2, Image.Resampling.BICUBIC)
    sheet = Image.new("RGB", (_SHEET, _SHEET), _PAPERS[draws.integers(len(_PAPERS))])
    if draws.random() < 0.25:
        for row in range(int(draws.integers(5, 20)), _SHEET, int(draws.integers(16, 30))):
            sheet.paste((185, 205, 240), (0, row, _SHEET, row + 1))
    place = int(draws.integers(40, 120)), int(draws.integers(40, 120))
    sheet.paste(
        _PENS[draws.integers(len(_PENS))], (*place, place[0] + strokes.width, place[1] + strokes.height), strokes
    )
    return sheet


def _light(draws: np.random.Generator) -> FloatArray:
    """Light that falls off to one side, and the soft shadow of a hand or a head."""
    rows, columns = np.mgrid[0:_HEIGHT, 0:_WIDTH].astype(np.float32)
    angle = draws.uniform(0, 2 * np.pi)
    along = (columns / _WIDTH - 0.5) * np.cos(angle) + (rows / _HEIGHT - 0.5) * np.sin(angle)
    x, y, size = draws.uniform(0, _WIDTH), draws.uniform(0, _HEIGHT), draws.uniform(80, 220)
    edge = (np.hypot(columns - x, rows - y) - size) / draws.uniform(8, 50)
    shadow = 1 - draws.uniform(0.15, 0.45) / (1 + np.exp(np.clip(edge, -30, 30)))
    return np.asarray((0.85 + 0.3 * along) * shadow, np.float32)


def _perspective(target: np.ndarray, source: np.ndarray) -> list[float]:
    """The eight numbers of the perspective that takes points of the target to those of the source."""
    rows = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.linalg.solve(np.array(rows), source.reshape(-1)).tolist()
