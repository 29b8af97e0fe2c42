"""Photographs of drawings, made of clean ones: paper, pen, light, the table, the camera's slant, noise and JPEG."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from anyseek.model.modalities.drawings import ByteArray, ink
from anyseek.model.seam import FloatArray

_SHEET, _PHOTO = 400, (640, 480)
_PENS = ((25, 25, 30), (30, 50, 160), (190, 30, 40), (20, 120, 60), (95, 95, 100))  # black, blue, red, green, pencil
_PAPERS = ((250, 250, 248), (240, 236, 222), (228, 230, 235))
_TABLES = ((120, 82, 52), (60, 62, 70), (150, 120, 92), (84, 104, 84))


def photographed(drawing: ByteArray, draws: np.random.Generator) -> bytes:
    """A photograph of 640 x 480 pixels as JPEG of a drawing (H, W) on paper, as `draws` has it.

    Half of them show the table around the paper at a slant of up to 15%; a quarter are on ruled or squared paper.
    """
    sheet = _sheet(drawing, draws)
    photo = _on_table(sheet, draws) if draws.random() < 0.5 else _close(sheet, draws)
    light = _light(draws)[:, :, None]
    noisy = photo * light + draws.normal(0, draws.uniform(2, 6), photo.shape)
    picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    stream = io.BytesIO()
    picture.filter(ImageFilter.GaussianBlur(draws.uniform(0, 0.9))).save(
        stream, "JPEG", quality=int(draws.integers(60, 90))
    )
    return stream.getvalue()


def _sheet(drawing: ByteArray, draws: np.random.Generator) -> Image.Image:
    """The drawing by a pen of some colour on paper of some shade."""
    strokes = Image.fromarray(ink(drawing)).resize((_SHEET * 3 // 5,) * 2, Image.Resampling.BICUBIC)
    amount = Image.new("L", (_SHEET, _SHEET))
    amount.paste(strokes, (int(draws.integers(40, 120)), int(draws.integers(40, 120))))
    paper = np.array(_PAPERS[draws.integers(len(_PAPERS))], np.float32)
    pen = np.array(_PENS[draws.integers(len(_PENS))], np.float32)
    share = np.asarray(amount, np.float32)[:, :, None] / 255 * draws.uniform(0.75, 1)
    sheet = np.broadcast_to(paper, (_SHEET, _SHEET, 3)).copy()
    if draws.random() < 0.25:
        first, apart = int(draws.integers(5, 20)), int(draws.integers(16, 30))
        sheet[first::apart] -= (70, 45, 10)
        if draws.random() < 0.5:
            sheet[:, first::apart] -= (70, 45, 10)
    return Image.fromarray((sheet * (1 - share) + pen * share).clip(0, 255).astype(np.uint8))


def _on_table(sheet: Image.Image, draws: np.random.Generator) -> FloatArray:
    """The whole sheet at a slant, on a table."""
    _, height = _PHOTO
    base = np.array([(110, 30), (530, 30), (530, 450), (110, 450)], np.float64)
    corners = base + draws.uniform(-28, 28, (4, 2))
    source = np.array([(0, 0), (_SHEET, 0), (_SHEET, _SHEET), (0, _SHEET)], np.float64)
    numbers = _mapping(corners, source)
    table = np.array(_TABLES[draws.integers(len(_TABLES))], np.float32) + draws.normal(0, 6, (height, 1, 1))
    placed = sheet.transform(_PHOTO, Image.Transform.PERSPECTIVE, numbers, Image.Resampling.BICUBIC)
    there = Image.new("L", sheet.size, 255).transform(_PHOTO, Image.Transform.PERSPECTIVE, numbers)
    share = np.asarray(there, np.float32)[:, :, None] / 255
    return np.asarray(np.asarray(placed, np.float32) * share + table * (1 - share), np.float32)


def _close(sheet: Image.Image, draws: np.random.Generator) -> FloatArray:
    """The sheet fills the photograph, turned a little."""
    paper = tuple(np.asarray(sheet)[2, 2].tolist())
    turned = sheet.rotate(draws.uniform(-6, 6), Image.Resampling.BICUBIC, fillcolor=paper)
    return np.asarray(turned.resize(_PHOTO, Image.Resampling.BICUBIC), np.float32)


def _light(draws: np.random.Generator) -> FloatArray:
    """Light that falls off to one side, and the soft shadow of a hand or a head."""
    width, height = _PHOTO
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = draws.uniform(0, 2 * np.pi)
    along = (columns / width - 0.5) * np.cos(angle) + (rows / height - 0.5) * np.sin(angle)
    fall = 0.85 + 0.3 * along
    x, y, size = draws.uniform(0, width), draws.uniform(0, height), draws.uniform(80, 220)
    edge = (np.hypot(columns - x, rows - y) - size) / draws.uniform(8, 50)
    shadow = 1 - draws.uniform(0.15, 0.45) / (1 + np.exp(np.clip(edge, -30, 30)))
    return np.asarray(fall * shadow, np.float32)


def _mapping(target: npt.NDArray[np.float64], source: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """The eight numbers of the perspective that takes points of the target to those of the source."""
    rows = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return tuple(np.linalg.solve(np.array(rows), source.reshape(-1)).tolist())
