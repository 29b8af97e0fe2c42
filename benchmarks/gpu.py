"""What a card does with all that uses one, as one JSON object: see docs/gpu.md, which has the goals beside it.

    python -m benchmarks.gpu [--device cuda] [--networks B L XL] [--peak TFLOPS]
    python -m benchmarks.gpu --device cpu --quick     # the same code in small: does it run

- `embedding`: pictures a second to vectors of 768 numbers by networks of the published shapes with random weights, in
  bfloat16: the network alone with its input on the device, all of `embed` from decoded pictures, and from JPEG files
  that as many threads decode as there are processors; and which share of the device's peak that is.
- `queries`: captions a second and how long one takes, for clients that ask one after the other and are gathered.
- `small_batches`: milliseconds of embedding captions and pictures, 1, 4 and 16 at a time, kernel by kernel, as CUDA
  graphs, with compiled blocks, and with both; and the lowest cosine with the vectors of the first way.
- `index`: searching vectors of 256 numbers by FAISS on the CPU and on the card.
- `training`: model FLOP utilisation of a step.
- `agreement`: the lowest cosine between vectors of the CPU and of the device, by dtype, as samples pass the network
  together and each alone. On a CPU this compares batches with single samples.
"""

import argparse
import asyncio
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from anyseek.api.gathering import Gathering
from anyseek.api.service import Pool
from anyseek.model.errors import BadDevice
from anyseek.model.fourm.inputs import Encoded, FourMParts, encode_samples
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published.modalities import inputs_of, targets_of
from anyseek.model.fourm.spaces import Embedding, GlobalSpace
from anyseek.model.modalities.reading.decode import decode
from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.packing import pack
from anyseek.model.placement import chosen_device
from anyseek.model.seam import EmbeddingSpace, Sample
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.pretraining.config import SIZES
from anyseek.model.training.pretraining.vocabulary import make_vocabulary
from anyseek.search.spaces.local.candidates import GpuMissing
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.spaces.local.kinds import Kind
from benchmarks.model.networks import PUBLISHED, TARGET, random_network
from benchmarks.model.small_batches import small_batches
from benchmarks.model.timing import UNCOUNTED, machine
from benchmarks.training.measures import Way, matrix_rate, measure, published_peak

_SPACE, _DIMENSION = "dinov2_global", 768
_GLOBAL = {"n_channels": _DIMENSION, "codebook_size": 8192, "num_codebooks": 16, "latent_dim": 512}
_MLP = {"enc_type": "BottleneckMLP/B_4-Wi_2048", "dec_type": "BottleneckMLP/B_4-Wi_2048", "quant_type": "memcodes"}
_TINY_MLP = {"enc_type": "BottleneckMLP/B_1-Wi_32", "dec_type": "BottleneckMLP/B_1-Wi_32", "latent_dim": 32}
_SMALL = {"dim": 64, "num_heads": 2, "encoder_depth": 2, "decoder_depth": 2}
_WORDS = "a photo of two red bicycles beside an old house at night"
_WAITING = 256
_SECTIONS = ("embedding", "queries", "small_batches", "index", "training", "agreement")
_SEARCHED = 256  # numbers of a vector


@dataclass(frozen=True)
class Extent:
    """How much is measured. `size` in pixels of the JPEG files, `vectors` in the index, `train` samples a step."""

    pictures: int = 4096
    size: tuple[int, int] = (640, 480)
    repetitions: int = 5
    clients: tuple[int, ...] = (1, 8, 32, 128)
    queries: int = 2000
    vectors: int = 1_000_000
    searches: int = 1000
    train: int = 256
    small: int = 50  # repetitions of a small batch


QUICK = Extent(20, (64, 48), 1, (1, 4), 12, 2_000, 5, 4, 1)


def main() -> None:
    """Measure and print."""
    arguments = _parsed()
    extent = QUICK if arguments.quick else Extent()
    try:
        device = chosen_device(arguments.device)
    except BadDevice as error:
        raise SystemExit(str(error)) from None
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    peak = arguments.peak or published_peak(name)
    report: dict[str, Any] = {
        "machine": machine(),
        "device": name,
        "quick": arguments.quick,
        "ran_on_a_card": device.type == "cuda",
        "peak_tflops": peak,
        "matrix_tflops": matrix_rate(8192 if device.type == "cuda" else 1024, device.type) / 1000,
    }
    first, quick = arguments.networks[0], arguments.quick
    measures: dict[str, Callable[[], object]] = {
        "embedding": lambda: _embeddings(arguments.networks, device, extent, peak, quick=quick),
        "queries": lambda: _queries(random_model(first, device, quick=quick), extent),
        "small_batches": lambda: _small_batches(first, device, extent, quick=quick),
        "index": lambda: searching(extent),
        "training": lambda: training(first, device, extent, peak, quick=quick),
        "agreement": lambda: agreement(first, device, quick=quick),
    }
    print(json.dumps(report | {name: measures[name]() for name in arguments.only or measures}))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu (default cuda)")
    parser.add_argument("--networks", nargs="+", default=["B", "L", "XL"], choices=["B", "L", "XL"])
    parser.add_argument("--peak", type=float, help="TFLOP/s of the card in bfloat16, where its name is not known")
    parser.add_argument("--only", nargs="+", choices=_SECTIONS, help="some of the measurements")
    parser.add_argument("--quick", action="store_true", help="does it run: small networks and numbers")
    return parser.parse_args()


def random_model(
    size: str, device: torch.device, *, quick: bool, dtype: torch.dtype = torch.bfloat16, drawn_on: str | None = None
) -> FourMModel:
    """A network of the shape of 4M-21 with random weights, that embeds as a published one does.

    Weights are drawn on the device, or on `drawn_on` so that they are the same on another.
    """
    config = FourMConfig(**{**vars(PUBLISHED), **(_SMALL if quick else SIZES[size])})
    network = random_network(config, dtype, drawn_on or str(device)).requires_grad_(False).to(device)
    pack(network, (TARGET,))
    tokenizer = VQVAE(TokenizerConfig.from_values(_GLOBAL | _MLP | (_TINY_MLP if quick else {})))
    tokenizer.initialise(0)
    tokenizer = tokenizer.eval().requires_grad_(False).to(device)
    about = EmbeddingSpace(_SPACE, _DIMENSION, "random", np.zeros(_DIMENSION, np.float32))
    space = GlobalSpace(about, TARGET, config.row(TARGET).grid or (4, 4), tokenizer)
    taken = {name: form for name, form in inputs_of(config).items() if name in ("rgb", "caption")}
    parts = FourMParts(f"random {size}", network, taken, targets_of(config), _Tokenizers(tokenizer))
    made = Embedding("random", {_SPACE: space}, dict.fromkeys(taken, _SPACE), window=64)
    return FourMModel(parts, frozenset(taken), lambda: made)


class _Tokenizers:
    """Implements `anyseek.model.fourm.codecs.Tokenizers`."""

    def __init__(self, of_space: VQVAE) -> None:
        self.text = TextTokenizer(make_vocabulary([_WORDS], words=100), "vocabulary")
        self._of_space = of_space

    def tokenizer(self, name: str) -> VQVAE:
        """The tokenizer of the space, whatever its name."""
        return self._of_space


def _embeddings(
    sizes: Sequence[str], device: torch.device, extent: Extent, peak: float | None, *, quick: bool
) -> dict[str, Any]:
    """By network; one is on the device at a time."""
    return {size: embedding(random_model(size, device, quick=quick), extent, peak) for size in sizes}


def embedding(model: FourMModel, extent: Extent, peak: float | None) -> dict[str, Any]:
    """Pictures a second in three ways, each the median of several runs, after one that warms up."""
    files, limits = list(_jpegs(extent)), FileLimits()
    with ThreadPoolExecutor(cpu_count() or 1) as threads:

        def decoded() -> list[Sample]:
            return list(threads.map(partial(_picture, limits=limits), files))

        def rate(run: Callable[[], object]) -> float:
            return len(files) / _median(run, extent.repetitions, model.device)

        pictures = decoded()
        batch = encode_samples(model.parts, pictures[: model.batch]).on(model.device)
        network, operations = _network_alone(model, batch)
        count = len(batch.inputs["rgb@224"].mask)
        alone = count / _median(network, extent.repetitions, model.device)
        decoding = rate(lambda: [encode_samples(model.parts, some) for some in _split(decoded(), model.batch)])
        embed = rate(lambda: model.embed(pictures, [_SPACE]))
        whole = rate(lambda: _embed_files(model, files, threads, limits))
    of_each = operations / count
    return {
        "batch": model.batch,
        "gflop_each": of_each,
        "decoding_per_second": decoding,
        "network_per_second": alone,
        "embed_per_second": embed,
        "embed_from_jpeg_per_second": whole,
        "network_tflops": alone * of_each / 1000,
        "network_share_of_peak": None if peak is None else alone * of_each / 1000 / peak,
        "embed_share_of_peak": None if peak is None else embed * of_each / 1000 / peak,
    }


def _split(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def _network_alone(model: FourMModel, batch: Encoded) -> tuple[Callable[[], object], float]:
    """A pass of the network and the tokenizer over a batch on the device, and its GFLOP."""
    network, space = model.parts.network, model.embedding.spaces[_SPACE]

    @torch.inference_mode()
    def run() -> object:
        return space.vectors(
            network.decode_global(network.encode(batch.inputs, batch.fill), [TARGET])[TARGET], model.decoding
        )

    with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
        run()
    return run, float(counter.get_total_flops()) / 1e9


def _embed_files(model: FourMModel, files: Sequence[bytes], threads: ThreadPoolExecutor, limits: FileLimits) -> None:
    """Embed a batch while the next ones are decoded."""
    samples = threads.map(partial(_picture, limits=limits), files)
    some: list[Sample] = []
    for place, sample in enumerate(samples, start=1):
        some.append(sample)
        if len(some) == model.batch or place == len(files):
            model.embed(some, [_SPACE])
            some = []


def _picture(data: bytes, limits: FileLimits) -> Sample:
    return Sample({"rgb": decode("rgb", data, limits, "a picture")})


def _jpegs(extent: Extent) -> Iterator[bytes]:
    """Files of different noise, smooth enough to be as large as photos are."""
    random = np.random.default_rng(0)
    for _ in range(extent.pictures):
        rough = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        file = io.BytesIO()
        rough.resize(extent.size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        yield file.getvalue()


def _queries(model: FourMModel, extent: Extent) -> list[dict[str, Any]]:
    return [queries(model, clients, extent.queries) for clients in extent.clients]


def queries(model: FourMModel, clients: int, count: int) -> dict[str, Any]:
    """What `clients` get that ask `count` captions in all, each one after the other, gathered as the service does."""

    def answer(key: str, captions: Sequence[str]) -> list[Any]:
        return list(model.embed([Sample({"caption": caption}) for caption in captions], [_SPACE])[_SPACE])

    async def ask(gathering: Gathering[str, str, Any], mine: int) -> list[float]:
        taken = []
        for number in range(mine):
            start = time.perf_counter()
            await gathering.ask("captions", f"{_WORDS} {number}")
            taken.append(time.perf_counter() - start)
        return taken

    async def run() -> list[float]:
        gathering = Gathering[str, str, Any](Pool(2, _WAITING), answer, model.batch, 2)
        each = await asyncio.gather(*(ask(gathering, max(1, count // clients)) for _ in range(clients)))
        return [seconds for taken in each for seconds in taken]

    answer("captions", [_WORDS])
    start = time.perf_counter()
    taken = sorted(asyncio.run(run()))
    return {
        "clients": clients,
        "per_second": len(taken) / (time.perf_counter() - start),
        "p50_ms": 1000 * taken[len(taken) // 2],
        "p99_ms": 1000 * taken[int(0.99 * (len(taken) - 1))],
    }


def _small_batches(size: str, device: torch.device, extent: Extent, *, quick: bool) -> dict[str, Any]:
    pictures = [_picture(file, FileLimits()) for file in _jpegs(replace(extent, pictures=16))]
    captions = [Sample({"caption": f"{_WORDS} {number}"}) for number in range(16)]
    batches = {
        f"{name}_{many}": samples[:many]
        for name, samples in (("captions", captions), ("pictures", pictures))
        for many in (1, 4, 16)
    }
    make = partial(random_model, size, device, quick=quick)
    return small_batches(make, batches, _SPACE, lambda run: _median(run, extent.small, device))


def searching(extent: Extent) -> dict[str, Any]:
    """Searches a second, one and 32 at a time, for ten neighbours; a card that FAISS cannot use says why."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((extent.vectors, _SEARCHED), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found: dict[str, Any] = {"vectors": extent.vectors}
    for kind in (Kind.FLAT, Kind.GPU):
        try:
            index = FaissIndex(_SEARCHED, kind)
        except GpuMissing as error:
            found[kind] = str(error)
            continue
        index.upsert(np.arange(len(vectors)), vectors)
        while made := index.renewal(thorough=True):
            made()()
        found[kind] = {f"{many}_at_once": _searches(index, vectors, many, extent.searches) for many in (1, 32)}
    return found


def _searches(index: FaissIndex, vectors: Any, many: int, searches: int) -> float:
    index.search(vectors[:many], 10)
    start = time.perf_counter()
    for number in range(searches):
        first = number * many % (len(vectors) - many)
        index.search(vectors[first : first + many], 10)
    return searches * many / (time.perf_counter() - start)


def training(size: str, device: torch.device, extent: Extent, peak: float | None, *, quick: bool) -> dict[str, Any]:
    """A step of training: samples and TFLOP a second, and their share of the peak."""
    way = Way(size, extent.train, extent.repetitions, device.type, quick=quick)
    with tempfile.TemporaryDirectory() as folder:
        row = measure(way, Path(folder))
    assert row is not None, "a lone process is the first"
    done = row["gflops"] / 1000
    return {
        "network": size,
        "batch": way.batch,
        "samples_per_second": way.batch / row["seconds"],
        "tflops": done,
        "utilisation": None if peak is None else done / peak,
    }


def agreement(size: str, device: torch.device, *, quick: bool) -> dict[str, Any]:
    """By dtype the lowest cosine with what the CPU makes of pictures and captions together."""
    pictures = [_picture(file, FileLimits()) for file in _jpegs(replace(QUICK, pictures=8))]
    samples = [*pictures, *(Sample({"caption": _WORDS[:length]}) for length in (7, 19, len(_WORDS)))]
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        make = partial(random_model, size, quick=quick, dtype=dtype, drawn_on="cpu")
        there = make(device)
        here = there if device.type == "cpu" else make(torch.device("cpu"))
        expected = here.embed(samples, [_SPACE])[_SPACE]
        together = there.embed(samples, [_SPACE])[_SPACE]
        alone = np.concatenate([there.embed([sample], [_SPACE])[_SPACE] for sample in samples])
        ways = {"together": together, "alone": alone}
        found[str(dtype).removeprefix("torch.")] = {
            way: float((rows * expected).sum(axis=1).min()) for way, rows in ways.items()
        }
    return found


def _median(run: Callable[[], object], repetitions: int, device: torch.device) -> float:
    """Seconds of a call with all that it started on the device."""
    taken = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
