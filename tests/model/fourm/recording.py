"""What 4M models made of fixed values when it was recorded, as digests of every bit and a sample of the numbers.

    python -m tests.model.fourm.recording    # records anew into tests/golden/vectors

Two models are recorded: the bundled one, and a published one with random weights. Record anew only where a vector is
meant to change; if photos' vectors change, the fingerprint must, too.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch

from anyseek.model.fourm.published.names import PUBLISHED, VOCABULARY
from anyseek.model.fourm.published.store import InstalledFile, folder_of, installed, state_of, write_record
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.predict import predict
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import CodeEmbedder, Prediction, PredictOptions, Regions, Sample, TargetOptions, Value
from tests import random_weights
from tests.model.fourm.published.values import PICTURE, VALUES
from tests.model.pulled import HOME

FOLDER = Path(__file__).parents[2] / "golden" / "vectors"
_COLUMNS = 64  # numbers kept of each vector, evenly chosen

Array = npt.NDArray[Any]


@dataclass
class Recording:
    """`digests` of whole arrays and values by name, `rows` float32 (n, 64) of the vectors among them."""

    machine: str
    fingerprints: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Array] = field(default_factory=dict)

    def add_vectors(self, name: str, vectors: Array) -> None:
        """Keep vectors (n, d)."""
        self.digests[name] = digest(vectors)
        chosen = np.linspace(0, vectors.shape[1] - 1, _COLUMNS).astype(int)
        self.rows[name] = vectors[:, chosen].astype(np.float32)

    def add_prediction(self, name: str, prediction: Prediction) -> None:
        """Keep a prediction's value, tokens and arrays."""
        parts = [prediction.value, prediction.tokens, *(prediction.arrays[key] for key in sorted(prediction.arrays))]
        self.digests[name] = hashlib.sha256(" ".join(map(digest, parts)).encode()).hexdigest()

    def write(self, name: str) -> None:
        """Write it into `FOLDER`."""
        told = {"machine": self.machine, "fingerprints": self.fingerprints, "digests": self.digests}
        (FOLDER / f"{name}.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        np.savez_compressed(FOLDER / f"{name}.npz", allow_pickle=False, **self.rows)

    @classmethod
    def read(cls, name: str) -> "Recording":
        """The one in `FOLDER`."""
        told = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        with np.load(FOLDER / f"{name}.npz") as file:
            return cls(told["machine"], told["fingerprints"], told["digests"], dict(file))


def digest(value: object) -> str:
    """sha256 over every bit of an array, or over what another value says."""
    if isinstance(value, np.ndarray):
        told = f"{value.dtype.str} {value.shape} ".encode() + np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Regions):
        told = f"{digest(np.asarray(value.ids))} {sorted(value.classes.items())}".encode()
    else:
        told = repr(value).encode()
    return hashlib.sha256(told).hexdigest()


def this_machine() -> str:
    """The processor and torch, with which sums are the same to the last bit."""
    told = Path("/proc/cpuinfo")  # of Linux; elsewhere nothing was recorded
    lines = told.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if told.exists() else []
    about = dict(map(str.strip, line.split(":", 1)) for line in lines if ":" in line)
    processor = " ".join(about.get(key, "") for key in ("model name", "cpu family", "model", "stepping"))
    threads, capability = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return f"{processor}, {capability}, {threads} threads, torch {torch.__version__}, numpy {np.__version__}"


def bundled_values() -> dict[str, Value]:
    """A value of each of the nine modalities that the bundled model takes, from a seed."""
    random = np.random.default_rng(21)
    coarse = random.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    picture = coarse.repeat(30, axis=0).repeat(30, axis=1)
    drawing = np.zeros((120, 160), np.uint8)
    drawing[30:90, 40:44] = drawing[30:90, 116:120] = drawing[30:34, 40:120] = 255
    depth = (1 + np.add.outer(np.arange(90), np.arange(120)) / 50).astype(np.float32)
    depth[:4, :5] = np.nan
    ids = random.integers(0, 4, (5, 7)).astype(np.int64).repeat(16, axis=0).repeat(16, axis=1)
    return {
        "rgb": picture,
        "canny_edge": drawing,
        "depth": depth,
        "normal": picture[::-1].copy(),
        "semseg": Regions(ids, {0: "wall", 1: "floor", 2: "chair", 3: "table"}),
        "bounding_boxes": (
            LabelledBox(Box(0.1, 0.2, 0.6, 0.9), "chair"),
            LabelledBox(Box(0.5, 0.5, 1.0, 1.0), "table"),
        ),
        "caption": "a red house beside a low table",
        "color_palette": random.integers(0, 256, (4, 3)).astype(np.uint8),
        "metadata": Metadata({"brightness": 100.0, "n_humans": 2, "contrast": 40.0}),
    }


def record_bundled() -> Recording:
    """What the bundled model makes of them. Raises `WeightsMissing` without the encoders."""
    embedder, values = load_embedder("4m-tiny", HOME), bundled_values()
    assert embedder.modalities >= values.keys()
    found = Recording(this_machine())
    _embed(found, embedder, values, ({"rgb", "caption"}, {"canny_edge", "color_palette", "metadata"}))
    for target in ("visual_global", "semantic_global"):
        predicted = predict({"caption": "a dog", "rgb": values["rgb"]}, [target], model=embedder)[target]
        found.add_vectors(f"predict/{target}", np.asarray(predicted.value)[None])

    def run(name: str, inputs: Mapping[str, Value], wanted: Sequence[str], /, **options: Any) -> None:
        _predict(found, name, lambda: predict(inputs, wanted, model=embedder, options=PredictOptions(**options)))

    for name in ("caption", "color_palette", "metadata", "depth", "normal", "semseg"):
        run(name, {"rgb": values["rgb"]}, [name])
        run(f"{name} of a drawing and words", {key: values[key] for key in ("canny_edge", "bounding_boxes")}, [name])
    run("chain", {"rgb": values["rgb"]}, ["depth", "color_palette", "caption", "visual_global"], seed=5)
    run("warm", {"rgb": values["rgb"]}, ["caption"], temperature=3.0, top_p=0.0, seed=7)
    run("drawn", {"caption": "a chair"}, ["normal"], temperature=1.0, steps=4, guidance=1.5)
    run("weighted", {"rgb": values["rgb"], "caption": "a bed"}, ["depth"], weights={"rgb": 2.0, "caption": 0.5})
    return found


def record_published() -> Recording:
    """What a published model with random weights makes of a value of each of its modalities."""
    with tempfile.TemporaryDirectory() as folder, _installed(Path(folder)) as home:
        embedder = load_embedder("4M-21_B", home)
        found = Recording(this_machine())
        _embed(found, embedder, VALUES, ({"rgb", "caption"}, {"depth", "metadata", "clip", "t5_caption"}))
        for options in ("decoding=hard", "token_budget=98", "dtype=bfloat16"):
            other = load_embedder(f"4M-21_B:{options}", home)
            rows = other.embed([Sample({"rgb": PICTURE}), Sample({"caption": "a dog"})], list(other.spaces))
            for space, vectors in rows.items():
                found.fingerprints[f"{options}/{space}"] = other.spaces[space].fingerprint
                found.add_vectors(f"{options}/{space}", vectors)
        _predict_published(found, load_embedder("4M-21_B", home))
    return found


def _predict_published(found: Recording, model: Any) -> None:
    fast = PredictOptions(decoding_steps=2)

    def run(name: str, inputs: Mapping[str, Value], wanted: Sequence[str], /, **options: Any) -> None:
        _predict(found, name, lambda: predict(inputs, wanted, model=model, options=replace(fast, **options)))

    words: dict[str, Value] = {"caption": "a red bus"}
    for target in sorted(VALUES.keys() - {"t5_caption"}):
        run(target, words if target == "rgb" else {"rgb": PICTURE}, [target])
    run("chain", words, ["clip", "depth", "metadata", "semseg"], steps=3, targets={"depth": TargetOptions(steps=2)})
    run("weighted", {"rgb": PICTURE, **words}, ["dinov2_global", "normal"], weights={"rgb": 2.0, "caption": -1.0})
    run("enlarged", {"rgb": PICTURE}, ["semseg"], super_resolution=True)
    run("everywhere", {"rgb": PICTURE}, ["sam_instance", "caption"], points=2)


def _predict(found: Recording, name: str, made: Callable[[], Mapping[str, Prediction]]) -> None:
    for target, prediction in made().items():
        found.add_prediction(f"predict/{name}/{target}", prediction)


def _embed(found: Recording, embedder: Any, values: Mapping[str, Value], together: Sequence[set[str]]) -> None:
    """Each value alone and some together, once as one batch larger than a pass, once each by itself."""
    assert isinstance(embedder, CodeEmbedder)
    samples = [Sample({name: value}) for name, value in values.items()]
    samples += [Sample({name: values[name] for name in values if name in names}) for names in (*together, set(values))]
    spaces = [name for name, space in embedder.spaces.items() if space.instead is None]  # the others are not networks'
    found.fingerprints["model"] = embedder.fingerprint
    found.fingerprints |= {space: embedder.spaces[space].fingerprint for space in spaces}
    batches = {"embed": embedder.embed(samples * 2, spaces), "gallery": embedder.embed_gallery(samples * 2, spaces)}
    alone = [embedder.embed([sample], spaces) for sample in samples]
    batches["alone"] = {space: np.concatenate([rows[space] for rows in alone]) for space in spaces}
    for method, by_space in batches.items():
        for space, rows in by_space.items():
            found.add_vectors(f"{method}/{space}", rows)


@contextmanager
def _installed(home: Path) -> Iterator[Path]:
    """A random model whose vocabulary is the small one everywhere, and whose checksums are said, not computed.

    So fingerprints are the same everywhere, though random weights may differ in a bit from one processor to the next.
    """
    with mock.patch.object(random_weights, "SHARED_VOCABULARY", home / "nowhere"):
        random_weights.write_random_models(home)
    for name in (*PUBLISHED, VOCABULARY):
        if state_of(name, home) is state_of("4M-21_B", home):
            record = installed(name, home)
            said = hashlib.sha256(name.encode()).hexdigest()
            files = {file: InstalledFile(said, was.size) for file, was in record.files.items()}
            write_record(replace(record, files=files), folder_of(name, home))
    yield home


RECORDINGS: Mapping[str, Callable[[], Recording]] = {"bundled": record_bundled, "published": record_published}

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for one, record in RECORDINGS.items():
        record().write(one)
