"""What reading the metadata of photos costs: the same photos indexed with it and without, in turns."""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from anyseek.model.seam import Embedder
from anyseek.search.settings import Photos, Settings, Work
from benchmarks.ingest.rates import LARGE, Pace, indexer, make_photos


def make_photos_of_cameras(folder: Path, count: int, size: tuple[int, int] = LARGE) -> list[Path]:
    """Photos with EXIF as a phone writes it, each taken at another time and place. Returns them sorted."""
    files = make_photos(folder, count, size)
    chance = np.random.default_rng(1)
    for number, path in enumerate(files):
        segment = _exif(number, float(chance.uniform(36, 60)), float(chance.uniform(-9, 30))).tobytes()
        data = path.read_bytes()
        path.write_bytes(data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:])
    return files


def compare(files: Sequence[Path], embedder: Embedder, work: Work, rounds: int) -> dict[str, Any]:
    """Seconds by the clock and of processor for all files, with and without; the ratios are medians of the rounds."""
    base = Settings(Path(), work=work)
    ways = {
        "without": indexer(files, embedder, replace(base, photos=Photos(metadata=False))),
        "with": indexer(files, embedder, base),
    }
    for run in ways.values():
        run()  # reads the files into the system's memory, and wakes what sleeps
    turns = [{name: run() for name, run in ways.items()} for _ in range(rounds)]
    return {
        "photos": len(files),
        "seconds": {name: round(statistics.median(len(files) / turn[name].rate for turn in turns), 1) for name in ways},
        "slower_by_clock": _slower([(turn["without"].rate, turn["with"].rate) for turn in turns]),
        "slower_by_processor": _slower([(_ms(turn["with"]), _ms(turn["without"])) for turn in turns]),
    }


def _slower(pairs: Sequence[tuple[float, float]]) -> float:
    """By how much the larger of each pair exceeds the other, in percent."""
    return round(100 * (statistics.median(larger / smaller for larger, smaller in pairs) - 1), 1)


def _ms(pace: Pace) -> float:
    assert pace.processor_ms is not None
    return pace.processor_ms


def _exif(number: int, lat: float, lon: float) -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model], exif[Base.Orientation] = "Google", "Pixel 8", 1
    of_photo = exif.get_ifd(IFD.Exif)
    of_photo[Base.DateTimeOriginal] = f"2024:05:{1 + number % 28:02} 14:{number // 60 % 60:02}:{number % 60:02}"
    of_photo[Base.OffsetTimeOriginal], of_photo[Base.LensModel] = "+02:00", "Pixel 8 back camera 6.9mm f/1.68"
    of_photo[Base.ExposureTime], of_photo[Base.FNumber], of_photo[Base.MakerNote] = 0.004, 1.68, bytes(30_000)
    exif.get_ifd(IFD.GPSInfo).update(
        {
            GPS.GPSLatitudeRef: "N",
            GPS.GPSLatitude: (lat, 0.0, 0.0),
            GPS.GPSLongitudeRef: "E" if lon >= 0 else "W",
            GPS.GPSLongitude: (abs(lon), 0.0, 0.0),
            GPS.GPSAltitude: 21.5,
        }
    )
    return exif
