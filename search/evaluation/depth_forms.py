"""How often the form of a map is guessed right: depth in eight usual conventions, normals in all eight."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.modalities.reading.decode import decode_file, understand
from anyseek.model.modalities.reading.depth_forms import FAR_BRIGHT, INVERSE, NEAR_BRIGHT
from anyseek.model.modalities.reading.normal_forms import FORMS as NORMAL_FORMS
from anyseek.model.seam import FloatArray
from anyseek.search.evaluation.aligned import evenly
from anyseek.search.settings import Limits

Numbers = npt.NDArray[np.generic]
AIM = 0.95
_NEARER = (NEAR_BRIGHT, INVERSE)


@dataclass(frozen=True)
class FormsRow:
    """The shares of `maps` maps of one source of which it was understood which way they run, by convention."""

    source: str
    maps: int
    right: dict[str, float]

    @property
    def mean(self) -> float:
        """Over all conventions."""
        return sum(self.right.values()) / len(self.right)

    @property
    def reached(self) -> bool:
        """Whether 95% are right."""
        return self.mean >= AIM


def measure_rooms(most: int | None) -> FormsRow:
    """On at most `most` of the rooms that ship with Anyseek."""
    files = [FOLDER / view["modalities"]["depth"] for view in evenly(read_views(), most)]
    return measure_forms("rooms", (_metres(file) for file in files))


def measure_normals(most: int | None) -> FormsRow:
    """The same for normals, on at most `most` of the rooms."""
    right: dict[str, list[bool]] = {form: [] for form in NORMAL_FORMS}
    views = evenly(read_views(), most)
    for view in views:
        normals = np.asarray(decode_file("normal", FOLDER / view["modalities"]["normal"], Limits()))
        for form in NORMAL_FORMS:
            x, y, z = form.split("-")
            signs = np.where([x == "right", y == "up", z == "viewer"], 1, -1)
            turned = 127.5 + signs * (normals.astype(np.float32) - 127.5)
            understood = understand("normal", _picture(np.rint(turned).astype(np.uint8)), Limits(), "map").understood
            right[form].append(understood is not None and understood.form == form)
    return FormsRow("rooms", len(views), {form: sum(found) / max(len(found), 1) for form, found in right.items()})


def _metres(file: Path) -> FloatArray:
    return np.asarray(decode_file("depth", file, Limits()), np.float32) / np.float32(100)


def measure_forms(source: str, maps: Iterable[FloatArray]) -> FormsRow:
    """On float32 (H, W) maps of distances in metres, NaN where not measured."""
    right: dict[str, list[bool]] = {name: [] for name in CONVENTIONS}
    for metres in maps:
        for name, (forms, write) in CONVENTIONS.items():
            understood = understand("depth", write(metres), Limits(), "map").understood
            right[name].append(understood is not None and understood.form in forms)
    count = len(next(iter(right.values())))
    return FormsRow(source, count, {name: sum(found) / max(count, 1) for name, found in right.items()})


def _picture(values: Numbers, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def _array(values: Numbers) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def _steps(metres: FloatArray, a_metre: float) -> Numbers:
    return np.asarray(np.clip(np.nan_to_num(metres) * a_metre, 0, 65535).astype(np.uint16))


def _filled(values: FloatArray, full: int) -> Numbers:
    """Over the whole range of a pixel, from 1; 0 where not measured."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    share = (values - low) / max(high - low, 1e-9)
    filled = np.nan_to_num(np.rint(1 + share * (full - 1)))
    return np.asarray(filled.astype(np.uint8 if full == 255 else np.uint16))


CONVENTIONS: dict[str, tuple[tuple[str, ...], Callable[[FloatArray], bytes]]] = {
    "16-bit PNG, mm": ((FAR_BRIGHT,), lambda metres: _picture(_steps(metres, 1000))),
    "16-bit PNG, 1/256 m": ((FAR_BRIGHT,), lambda metres: _picture(_steps(metres, 256))),
    "8-bit PNG, near dark": ((FAR_BRIGHT,), lambda metres: _picture(_filled(metres, 255))),
    "8-bit PNG, near bright": (_NEARER, lambda metres: _picture(_filled(-metres, 255))),
    "16-bit PNG, inverse": (_NEARER, lambda metres: _picture(_filled(np.float32(1) / metres, 65535))),
    "NPY, m": ((FAR_BRIGHT,), lambda metres: _array(metres.astype(np.float32))),
    "NPY, inverse": (_NEARER, lambda metres: _array((1 / metres).astype(np.float32))),
    "float TIFF, m": ((FAR_BRIGHT,), lambda metres: _picture(metres.astype(np.float32), "TIFF")),
}
