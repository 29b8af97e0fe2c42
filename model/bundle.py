"""Weights that come with the package: one folder in `model/weights/` with a manifest, safetensors and a vocabulary.

`manifest.json` holds the sha256 of every file, the default space per query modality, whether each space's gallery is
`exact` or `predicted`, how parts of queries do best (`fusion`, late unless it says joint), the names of labels
(`classes`), the licence of the weights and the fingerprint. Matrices may be stored as `model.quantized` says. What the
network predicts as tokens of images has a decoder (`model.tiny_dense`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from model.checkpoints import file_digest, load_fourm, load_vqvae
from model.config import EmbeddingKind, FourMConfig
from model.embedder import EmbeddingSpace, FloatArray, Fusion, UnknownModel, WeightsCorrupt, WeightsMissing
from model.feature_maps import Projection, load_projection
from model.hub import encoders_digest
from model.modality import DECLARATIONS, MODALITIES
from model.preprocess import VERSION
from model.shortcuts import Shortcuts, load_shortcuts
from model.tiny import INPUTS, TEXTS
from model.tiny_dense import DenseTarget, load_dense
from model.tokenizers.text import TextTokenizer
from model.tokenizers.vqvae import VQVAE
from model.transformer import FourM

WEIGHTS = Path(__file__).parent / "weights"
MANIFEST = "manifest.json"
NETWORK, PROJECTION = "network.safetensors", "projection.safetensors"
SHORTCUTS, CONSTANTS = "shortcuts.safetensors", "constants.safetensors"
VOCABULARY = "vocabulary.json"
GALLERIES = ("exact", "predicted")  # how the vectors of a space's gallery may be made
PRIOR = "gallery_prior"  # constants are called `<space>/gallery_prior` and `<space>/<modality>`
_TOLD = ("files", "default_spaces", "gallery")  # the fingerprint is of these


@dataclass(frozen=True)
class Bundle:
    """Everything of a bundled model but the encoders, in evaluation mode.

    `inputs` are the modalities that its network takes, `text` is the vocabulary of those that are sequences, `dense`
    are those that it predicts as images.
    """

    name: str
    fingerprint: str
    inputs: tuple[str, ...]
    network: FourM
    tokenizers: Mapping[str, VQVAE]
    projection: Projection
    spaces: Mapping[str, EmbeddingSpace]
    default_spaces: Mapping[str, str]
    gallery: Mapping[str, str]
    fusion: Fusion
    shortcuts: Shortcuts
    text: TextTokenizer
    dense: Mapping[str, DenseTarget]

    @property
    def targets(self) -> tuple[str, ...]:
        """The modalities that it predicts: the vectors of its spaces, and what its network writes or draws."""
        written = [name for name in TEXTS if name in self.network.config.domains_out]
        return tuple(name for name in MODALITIES if name in {*self.spaces, *written, *self.dense})


def load_bundle(name: str, folder: Path | None = None) -> Bundle:
    """The bundled model `name`, every file verified; `folder` instead of the package's own for weights in the making.

    Raises `UnknownModel`, `WeightsMissing`, `WeightsCorrupt`, `ConfigInvalid`, `CheckpointMismatch`.
    """
    folder = folder or WEIGHTS / name
    manifest = _read_manifest(name, folder)
    network = load_fourm(folder / NETWORK)
    inputs = tuple(modality for modality, row in INPUTS.items() if row.key in network.config.domains_in)
    spaces = _spaces(manifest, inputs, folder)
    return Bundle(
        name,
        manifest["fingerprint"],
        inputs,
        network,
        {space: load_vqvae(folder / f"{space}.safetensors") for space in spaces},
        load_projection(folder / PROJECTION),
        spaces,
        manifest["default_spaces"],
        manifest["gallery"],
        Fusion(manifest.get("fusion", Fusion.LATE)),
        _shortcuts(folder / SHORTCUTS, spaces),
        _text(folder / VOCABULARY, network.config),
        load_dense(folder, manifest, network.config),
    )


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """sha256 over the files' checksums, encoders, preprocessing version and what the manifest says of the spaces."""
    told = {key: manifest[key] for key in _TOLD}
    told |= {"preprocessing": VERSION, "encoders": encoders_digest()}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _read_manifest(name: str, folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in WEIGHTS.glob("*") if path.is_dir()))
        raise UnknownModel(f"no bundled weights are called {name!r}; there are {known or 'none'}")
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        told = {key: dict(manifest[key]) for key in _TOLD}
        stated = manifest["fingerprint"]
    except FileNotFoundError as error:
        raise WeightsMissing(f"there is no {MANIFEST} in {folder}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsCorrupt(f"{path} is no manifest of weights: {error}") from error
    needed = (NETWORK, PROJECTION, SHORTCUTS, CONSTANTS, VOCABULARY, *(f"{one}.safetensors" for one in told["gallery"]))
    if unlisted := [file for file in needed if file not in told["files"]]:
        raise WeightsCorrupt(f"{path} lists no file {unlisted[0]}")
    _check_files(told["files"], folder)
    _check_choices(manifest, path)
    if fingerprint(manifest) != stated:
        raise WeightsCorrupt(f"the fingerprint in {path} is not that of its files and constants")
    return manifest


def _check_choices(manifest: Mapping[str, Any], path: Path) -> None:
    """Raise `WeightsCorrupt` for a choice in a manifest that there is not."""
    spaces = tuple(manifest["gallery"])
    chosen: list[tuple[str, object, tuple[str, ...]]] = [("fusion", manifest.get("fusion", Fusion.LATE), tuple(Fusion))]
    chosen += [(f"the gallery of {space}", kind, GALLERIES) for space, kind in manifest["gallery"].items()]
    chosen += [(f"the default space of {name}", space, spaces) for name, space in manifest["default_spaces"].items()]
    for what, value, known in chosen:
        if value not in known:
            raise WeightsCorrupt(f"{path} says that {what} is {value!r}; it is one of {', '.join(known)}")


def _check_files(listed: Mapping[str, str], folder: Path) -> None:
    for file, digest in listed.items():
        if not (folder / file).is_file():
            raise WeightsMissing(f"the weights file {file} is not in {folder}")
        if file_digest(folder / file) != digest:
            raise WeightsCorrupt(f"{folder / file} is not what its checksum in {MANIFEST} says")


def _spaces(manifest: Mapping[str, Any], inputs: tuple[str, ...], folder: Path) -> dict[str, EmbeddingSpace]:
    """The spaces with their constants. Raises `WeightsCorrupt` for an input without default space or mean."""
    path, defaults, spaces = folder / CONSTANTS, manifest["default_spaces"], {}
    constants = load_file(path)
    for modality in inputs:
        if defaults.get(modality) not in manifest["gallery"]:
            raise WeightsCorrupt(f"{folder / MANIFEST} names no default space for {modality}, which its network takes")
    for space in manifest["gallery"]:
        prior = _constant(constants, f"{space}/{PRIOR}", path)
        means = {modality: _constant(constants, f"{space}/{modality}", path) for modality in inputs}
        spaces[space] = EmbeddingSpace(space, len(prior), manifest["fingerprint"], prior, means)
    return spaces


def _constant(constants: Mapping[str, Any], name: str, path: Path) -> FloatArray:
    if name not in constants:
        raise WeightsCorrupt(f"{path} lacks the mean {name}")
    return np.asarray(constants[name], np.float32)


def _shortcuts(path: Path, spaces: Mapping[str, EmbeddingSpace]) -> Shortcuts:
    """The shortcuts to all spaces. Raises `WeightsCorrupt` where they are from or to something else."""
    shortcuts = load_shortcuts(path)
    wanted = {name: space.dimension for name, space in spaces.items()}
    if not shortcuts.inputs.keys() <= INPUTS.keys() or shortcuts.spaces != wanted:
        raise WeightsCorrupt(
            f"{path} has shortcuts from {', '.join(shortcuts.inputs)} to {', '.join(shortcuts.spaces)}; "
            f"they are from {', '.join(INPUTS)} or what {DECLARATIONS} declares to {', '.join(wanted)}"
        )
    return shortcuts.eval().requires_grad_(False)


def _text(path: Path, config: FourMConfig) -> TextTokenizer:
    """The vocabulary. Raises `WeightsCorrupt` where it has more ids than a sequence of the network."""
    text = TextTokenizer.from_file(path)
    for key in (*config.domains_in, *config.domains_out):
        row = config.row(key)
        if row.kind is EmbeddingKind.SEQUENCE and row.vocabulary < text.vocabulary_size:
            raise WeightsCorrupt(f"{path} has {text.vocabulary_size} ids; the network knows {row.vocabulary} of {key}")
    return text
