"""Where the time of a photo goes when it is indexed, and how fast the whole is: docs/indexing.md.

    python -m benchmarks.ingest.stages [--json] [--small 64] [--large 16] [--rounds 5] [--model 4m-tiny]

Prints the processor's milliseconds of each stage, for photos of 320 x 240 and of 12 megapixels, with the image encoder
in every way that is there: torch's plain layers, fused, and by OpenVINO where that is installed. Then pictures a second
of the indexer and of the bare loop for each of these, and of the bare loop of a ViT-B/32 shape with random weights,
with the processor's milliseconds of a picture, which other work on the machine changes less. All take turns. Photos are
decoded by simplejpeg (libjpeg-turbo), too, where that is installed; Anyseek uses Pillow.
"""

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from anyseek.indexer.photo_metadata.reading import read_metadata
from anyseek.indexer.samples import RawFile
from anyseek.model.encoders.compiled import is_installed
from anyseek.model.encoders.efficientnet import load_efficientnet
from anyseek.model.encoders.fastest import FastestEncoder
from anyseek.model.encoders.preprocess import encoder_input, picture_pixels
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.encoders.remembering import ImageEncoder
from anyseek.model.fourm.model import FourMModel
from anyseek.model.home import default_home
from anyseek.model.loading import load_embedder
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.modalities.reading.encoded import WORKING_SIDE
from anyseek.model.modalities.reading.pictures import thumbnail
from anyseek.model.seam import Embedder, Sample
from anyseek.search.settings import Settings
from benchmarks.ingest.rates import LARGE, SMALL, Pace, Run, bare_loop, indexer, make_photos
from benchmarks.ingest.vit import VitShape
from benchmarks.model.timing import machine

AT_ONCE = 4  # pictures that go through the encoder together
COLOURS = "colours"
CHOSEN = "embedding in all, as installed"
ENCODER, OTHERS = "encoder, ", "network and towers"
VIT = "bare loop of a ViT-B/32 shape"
Stage = Callable[[], object]


def main() -> None:
    """Read the arguments, measure and print."""
    arguments = _arguments()
    home = default_home()
    embedder = load_embedder(arguments.model, home)
    if not isinstance(embedder, FourMModel) or embedder.parts.specialists is None:
        raise SystemExit(f"{embedder.name} has no encoders of its own; the models that have are called 4m-tiny…")
    report: dict[str, Any] = {"machine": machine(), "model": embedder.name, "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as scratch:
        for name, count, size in (("small", arguments.small, SMALL), ("large", arguments.large, LARGE)):
            if count:
                files = make_photos(Path(scratch, name), count, size)
                told = stages(files, embedder, encoders(home), arguments.rounds)
                rates = in_turns(ways(files, embedder, encoders(home)), arguments.rounds)
                report[name] = {"files": count, "ms": told, "rates": rates}
    report["load_at_the_end"] = os.getloadavg()[0]
    print(json.dumps(report) if arguments.json else "\n".join(_as_text(report)))


def encoders(home: Path) -> dict[str, ImageEncoder]:
    """The image encoder in torch's plain layers, fused, and by OpenVINO where that is installed."""
    path = check_encoders(home) / "efficientnet-lite0.safetensors"
    found: dict[str, ImageEncoder] = {
        "plain torch": load_efficientnet(path),
        "fused": FastestEncoder(load_efficientnet(path), compiling=False),
    }
    return found | ({"OpenVINO": FastestEncoder(load_efficientnet(path), compiling=True)} if is_installed() else {})


@torch.inference_mode()
def stages(
    files: Sequence[Path], embedder: FourMModel, encoders: Mapping[str, ImageEncoder], rounds: int
) -> dict[str, float]:
    """Milliseconds of the processor that a picture takes in each stage: medians of the rounds, each of all stages."""
    settings = Settings(Path())
    pictures = [_decoded(path, settings) for path in files]
    samples, looks = [Sample({"rgb": picture}) for picture in pictures], [picture_pixels(each) for each in pictures]
    others = [space for space in embedder.spaces if space != COLOURS]
    known: dict[str, Stage] = {
        "read and hash": lambda: [RawFile("rgb", path.read_bytes(), path.name).sha256 for path in files],
        "metadata": lambda: [read_metadata([RawFile("rgb", path.read_bytes(), path.name)], settings) for path in files],
        "decode": lambda: [_decoded(path, settings) for path in files],
        **_decoding_by_another(files),
        "thumbnail": lambda: [thumbnail(picture) for picture in pictures],
        "scaling for the encoder": lambda: [picture_pixels(picture) for picture in pictures],
        **{ENCODER + name: _encoding(encoder, looks) for name, encoder in encoders.items()},
        COLOURS: lambda: embedder.embed_gallery(samples, [COLOURS]),
        CHOSEN: lambda: embedder.embed_gallery(samples, [*others, COLOURS]),
    }
    turns = [{name: _milliseconds(stage) / len(files) for name, stage in known.items()} for _ in range(rounds + 1)]
    found = {name: round(statistics.median(turn[name] for turn in turns[1:]), 2) for name in known}
    parts = found["scaling for the encoder"], found[ENCODER + list(encoders)[-1]], found[COLOURS]
    return found | {OTHERS: round(found[CHOSEN] - sum(parts), 2)}


def ways(files: Sequence[Path], embedder: FourMModel, encoders: Mapping[str, ImageEncoder]) -> dict[str, Run]:
    """The bare loop and the indexer with each encoder, and the bare loop of the other shape."""
    settings = Settings(Path())
    found: dict[str, Run] = {}
    for name, encoder in encoders.items():
        of = {"bare loop": bare_loop(files, embedder, settings.work), "indexer": indexer(files, embedder, settings)}
        found |= {f"{way}, {name}": _seeing_by(encoder, embedder, run) for way, run in of.items()}
    return found | {VIT: bare_loop(files, cast(Embedder, VitShape()), settings.work)}


def in_turns(ways: Mapping[str, Run], rounds: int) -> dict[str, dict[str, float]]:
    """Pictures a second and the processor's milliseconds of one, medians of the rounds, each of which has all ways."""
    turns = [{name: run() for name, run in ways.items()} for _ in range(rounds + 1)]
    return {name: _summary([turn[name] for turn in turns[1:]]) for name in ways}


def _summary(paces: Sequence[Pace]) -> dict[str, float]:
    rates = [pace.rate for pace in paces]
    told = {"median": statistics.median(rates), "least": min(rates), "most": max(rates)}
    told["processor_ms"] = statistics.median(pace.processor_ms or 0.0 for pace in paces)
    return {name: round(value, 1) for name, value in told.items()}


def _seeing_by(encoder: ImageEncoder, embedder: FourMModel, run: Run) -> Run:
    specialists = embedder.parts.specialists
    assert specialists is not None

    def seeing() -> Pace:
        usual, specialists.image_encoder = specialists.image_encoder, encoder
        try:
            return run()
        finally:
            specialists.image_encoder = usual

    return seeing


def _decoded(path: Path, settings: Settings) -> ByteArray:
    return cast(ByteArray, decode_file("rgb", path, settings.limits))


def _decoding_by_another(files: Sequence[Path]) -> dict[str, Stage]:
    """Decoding to the same scale by simplejpeg, whose wheel has libjpeg-turbo, where it is installed."""
    if importlib.util.find_spec("simplejpeg") is None:
        return {}
    import simplejpeg

    side = WORKING_SIDE

    def decode(path: Path) -> object:
        return simplejpeg.decode_jpeg(path.read_bytes(), min_height=side, min_width=side, min_factor=1)

    return {"decode by simplejpeg": lambda: [decode(path) for path in files]}


def _encoding(encoder: ImageEncoder, looks: Sequence[ByteArray]) -> Stage:
    batches = [looks[start : start + AT_ONCE] for start in range(0, len(looks), AT_ONCE)]
    return lambda: [encoder(encoder_input(batch)) for batch in batches]


def _milliseconds(stage: Stage) -> float:
    started = time.process_time()
    stage()
    return 1_000 * (time.process_time() - started)


def _as_text(report: Mapping[str, Any]) -> list[str]:
    told, sizes = report["machine"], [name for name in ("small", "large") if name in report]
    lines = [
        f"{told['processor']}, {told['threads']} threads of {told['cores']} cores, torch {told['torch']}, "
        f"{told['date']}, load {told['load']:.1f} to {report['load_at_the_end']:.1f}; {report['model']}; "
        f"medians of {report['rounds']}",
        *("", "| stage, ms of a core | " + " | ".join(sizes) + " |", "|---" * (1 + len(sizes)) + "|"),
    ]
    for stage in report[sizes[0]]["ms"]:
        lines.append(f"| {stage} | " + " | ".join(str(report[size]["ms"][stage]) for size in sizes) + " |")
    lines += ["", "| pictures a second; ms of a core | " + " | ".join(sizes) + " |", "|---" * (1 + len(sizes)) + "|"]
    for way in report[sizes[0]]["rates"]:
        lines.append(f"| {way} | " + " | ".join(_cell(report[size]["rates"][way]) for size in sizes) + " |")
    return lines


def _cell(told: Mapping[str, float]) -> str:
    return f"{told['median']} ({told['least']}-{told['most']}); {told['processor_ms']}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        f"python -m {__spec__.name}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument("--small", type=int, default=64, help="JPEGs of 320 x 240 (default 64; 0: none)")
    parser.add_argument("--large", type=int, default=16, help="JPEGs of 12 megapixels (default 16; 0: none)")
    parser.add_argument("--rounds", type=int, default=5, help="in which every stage and way takes its turn (default 5)")
    parser.add_argument("--model", default="4m-tiny", help="a bundled model or one of its form (default 4m-tiny)")
    arguments = parser.parse_args()
    if not arguments.small and not arguments.large:
        parser.error("nothing is left to measure; --small or --large must be above 0")
    return arguments


if __name__ == "__main__":
    main()
