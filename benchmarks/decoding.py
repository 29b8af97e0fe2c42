"""What a process apart costs a picture: docs/security.md.

    python -m benchmarks.decoding [--repetitions 200] [--json]

Each picture is decoded in the thread that asks and in a process of `anyseek.model.modalities.reading.decoders`, in
turns, as for a query. The service itself leaves small PNG and JPEG in the thread.
"""

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from anyseek.model.modalities.reading.budget import Budget, spending
from anyseek.model.modalities.reading.decode import decode_content
from anyseek.model.modalities.reading.decoder_messages import Wanted
from anyseek.model.modalities.reading.decoders import Decoders
from anyseek.model.modalities.reading.encoded import WORKING_SIDE, Encoded, FileLimits
from anyseek.model.modalities.registry import Content

_LIMITS = FileLimits()
_MEGABYTES = 2_048


def main() -> None:
    arguments = _arguments()
    told = measured(arguments.repetitions)
    if arguments.json:
        print(json.dumps(told))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}\n")
    print("| picture | in the thread, ms | in a process, ms |\n| --- | --- | --- |")
    for name, row in told.items():
        print(f"| {name} | {row['thread']:.2f} | {row['process']:.2f} |")


def measured(repetitions: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of each picture, both ways."""
    decoders = Decoders(1, _MEGABYTES)
    try:
        return {name: _both(decoders, data, repetitions) for name, data in _pictures().items()}
    finally:
        decoders.close()


def _both(decoders: Decoders, data: bytes, repetitions: int) -> dict[str, float]:
    file, budget = Encoded(data, "it", _LIMITS, side=WORKING_SIDE), Budget(10**12, 3_600.0)
    taken: dict[str, list[float]] = {"thread": [], "process": []}
    decoders.read(Wanted(Content.PICTURE), file, budget)  # so that the process has started
    with spending(budget):
        for _ in range(repetitions):
            began = time.perf_counter()
            decode_content(Content.PICTURE, file)
            middle = time.perf_counter()
            decoders.read(Wanted(Content.PICTURE), file, budget)
            taken["thread"].append(middle - began)
            taken["process"].append(time.perf_counter() - middle)
    return {way: statistics.median(seconds) * 1000 for way, seconds in taken.items()}


def _pictures() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    small, photo = (random.integers(0, 256, (side // 8, side // 8, 3), np.uint8) for side in (224, 1024))
    return {
        "PNG, 224 x 224": _encoded(small, 224, "PNG"),
        "WebP, 224 x 224": _encoded(small, 224, "WEBP"),
        "JPEG, 1024 x 1024": _encoded(photo, 1024, "JPEG"),
        "WebP, 1024 x 1024": _encoded(photo, 1024, "WEBP"),
    }


def _encoded(pixels: np.ndarray, side: int, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(stream, kind)
    return stream.getvalue()


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(given)


if __name__ == "__main__":
    main()
