"""A folder of photos as a phone leaves it, made on the spot: HEIC and JPEG, with dates, offsets and places.

The scenes are the photographs that ship with the project. A drawn dog stands in some of them.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from anyseek.model.galleries.openmoji import svg_to_png
from anyseek.model.galleries.photos import Photo, read_photos
from tests.indexer.photos import PARIS, ROME, exif_of_camera, heic_photo
from tests.indexer.pictures import encoded

SIZE = (800, 600)
FOUND = "2024/05/IMG_0007.HEIC"  # the one that stands in Rome in May

_STANDING = """<path d="M36 62 Q20 52 14 34" fill="none" stroke-width="{tail}"/>
  <path d="M42 70 L38 110 L50 110 L56 80 Z"/><path d="M58 74 L56 110 L68 110 L72 80 Z"/>
  <path d="M92 76 L92 110 L104 110 L106 74 Z"/><path d="M106 72 L108 110 L120 110 L120 66 Z"/>
  <path d="M34 60 Q60 50 100 54 L112 44 L124 60 L118 78 Q80 90 44 82 Q32 76 34 60 Z"/>
  <path d="M100 50 Q100 26 118 24 Q130 24 134 34 L150 40 Q154 48 146 52 L130 56 Q118 66 106 60 Z"/>
  <path d="M108 28 Q100 34 102 50 Q112 50 116 30 Z" fill="{ear}"/>
  <circle cx="125" cy="36" r="2"/><circle cx="150" cy="43" r="3"/>"""
_FACE = """<path d="M44 40 Q22 36 26 74 Q32 90 46 72 Z" fill="{ear}"/>
  <path d="M116 40 Q138 36 134 74 Q128 90 114 72 Z" fill="{ear}"/>
  <path d="M44 42 Q80 14 116 42 Q124 72 104 98 Q80 116 56 98 Q36 72 44 42 Z"/>
  <circle cx="64" cy="58" r="4"/><circle cx="96" cy="58" r="4"/><ellipse cx="80" cy="78" rx="10" ry="7" fill="{ear}"/>
  <path d="M80 86 L80 94 M66 96 Q80 104 94 96" fill="none"/>"""
_SVG = """<svg viewBox="0 0 160 120" xmlns="http://www.w3.org/2000/svg">
  <g fill="{fill}" stroke="{line}" stroke-width="4" stroke-linejoin="round" stroke-linecap="round">{shape}</g></svg>"""


@dataclass(frozen=True)
class Shot:
    """A photo to make: its path, when (EXIF) and where it was taken, and the dog in it."""

    path: str
    taken: str
    place: tuple[float, float] | None
    dog: str = ""

    @property
    def is_of_rome_in_may(self) -> bool:
        return self.place == ROME and self.taken.startswith("2024:05")


SHOTS = (
    Shot("2024/04/IMG_0001.HEIC", "2024:04:30 18:20:00", ROME, _STANDING),
    *(Shot(f"2024/05/IMG_000{number}.HEIC", f"2024:05:0{number} 10:00:00", ROME) for number in range(2, 7)),
    Shot(FOUND, "2024:05:07 14:12:09", ROME, _STANDING),
    Shot("2024/05/IMG_0008.HEIC", "2024:05:08 09:30:00", ROME, _FACE),
    Shot("2024/05/IMG_0009.HEIC", "2024:05:09 11:00:00", ROME),
    Shot("2024/05/IMG_0010.JPG", "2024:05:20 16:40:00", PARIS, _STANDING),
    *(Shot(f"2024/05/IMG_00{number}.JPG", f"2024:05:{number + 10} 12:00:00", PARIS) for number in range(11, 15)),
    Shot("2024/06/IMG_0015.HEIC", "2024:06:01 08:05:00", ROME, _STANDING),
    *(Shot(f"2024/06/IMG_00{number}.HEIC", f"2024:06:{number} 12:00:00", ROME) for number in range(16, 19)),
    Shot("2024/rome.jpg", "2024:07:04 21:30:00", ROME),
    Shot("WhatsApp/IMG-20240502-WA0000.jpg", "", None, _STANDING),
)


def write_photos(folder: Path) -> None:
    """Write all photos, and beside them what else lies in such folders."""
    scenes = read_photos()
    for number, shot in enumerate(SHOTS):
        path = folder / shot.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_file(shot, _picture(scenes[7 * number], shot.dog)))
    (folder / "2024" / ".DS_Store").write_bytes(b"\0" * 20)
    (folder / "2024" / "05" / "IMG_0005.MOV").write_bytes(b"\0\0\0\x14ftypqt  ")


def sketch() -> bytes:
    """The outline of a standing dog, as somebody draws it: a PNG, not where or as large as it is in the photo."""
    drawn = Image.open(io.BytesIO(_dog(_STANDING, 300, fill="none", line="#111111", ear="none", tail=4))).convert("RGB")
    sheet = Image.new("RGB", (448, 448), "white")
    sheet.paste(drawn, (70, 130))
    return encoded(sheet, "PNG")


def outline() -> Sequence[Sequence[tuple[float, float]]]:
    """Strokes of the same dog, in shares of a sheet."""
    body = [(35, 60), (100, 54), (112, 44), (124, 60), (118, 78), (80, 88), (44, 82), (34, 60)]
    head = [(104, 50), (108, 30), (120, 24), (134, 34), (150, 40), (150, 50), (130, 56), (108, 60)]
    legs = [[(x, 82), (x - 2, 110), (x + 10, 110), (x + 12, 82)] for x in (42, 58, 92, 108)]
    return [
        [(x / 160, (y + 10) / 140) for x, y in part] for part in (body, head, [(36, 62), (20, 50), (14, 34)], *legs)
    ]


def _picture(scene: Photo, dog: str) -> Image.Image:
    picture = Image.fromarray(scene.picture()).resize(SIZE, Image.Resampling.BICUBIC)
    if not dog:
        return picture
    drawn = Image.open(io.BytesIO(_dog(dog, 640, fill="#b5793f", line="#5b3a1d", ear="#5b3a1d", tail=9))).convert("RGB")
    mask = drawn.convert("L").point(lambda value: 255 if value < 250 else 0)
    picture.paste(drawn, (80, 90), mask)
    return picture


def _dog(shape: str, width: int, fill: str, line: str, ear: str, tail: int) -> bytes:
    return svg_to_png(_SVG.format(shape=shape.format(ear=ear, tail=tail), fill=fill, line=line), width)


def _file(shot: Shot, picture: Image.Image) -> bytes:
    if not shot.taken:
        return encoded(picture, "JPEG", quality=80)  # a messenger leaves nothing of it
    exif = exif_of_camera(shot.taken, "+02:00", shot.place, make="Apple")
    return heic_photo(exif=exif, picture=picture) if shot.path.endswith("HEIC") else encoded(picture, "JPEG", exif=exif)
