"""Weights that come with the package: one folder in `model/weights/` with a manifest and safetensors files.

`manifest.json` holds the sha256 of every file, the default space per query modality, whether each space's gallery is
`exact` or `predicted`, the licence of the weights and the fingerprint.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load_file

from model.checkpoints import file_digest, load_fourm, load_strictly, load_vqvae
from model.embedder import EmbeddingSpace, UnknownModel, WeightsCorrupt, WeightsMissing
from model.feature_maps import MAP_CHANNELS, Projection, load_projection
from model.hub import encoders_digest
from model.preprocess import VERSION
from model.shortcuts import Shortcuts
from model.tokenizers.vqvae import VQVAE
from model.transformer import FourM

WEIGHTS = Path(__file__).parent / "weights"
MANIFEST = "manifest.json"
NETWORK, PROJECTION = "network.safetensors", "projection.safetensors"
SHORTCUTS, CONSTANTS = "shortcuts.safetensors", "constants.safetensors"
PRIOR = "gallery_prior"  # constants are called `<space>/gallery_prior` and `<space>/<modality>`


@dataclass(frozen=True)
class Bundle:
    """Everything of a bundled model but the encoders, in evaluation mode."""

    name: str
    fingerprint: str
    network: FourM
    tokenizers: Mapping[str, VQVAE]
    projection: Projection
    spaces: Mapping[str, EmbeddingSpace]
    default_spaces: Mapping[str, str]
    gallery: Mapping[str, str]
    shortcuts: Shortcuts
    map_shape: tuple[int, int, int] = (MAP_CHANNELS, 7, 7)


def load_bundle(name: str, folder: Path | None = None) -> Bundle:
    """The bundled model `name`, every file verified; `folder` instead of the package's own for weights in the making.

    Raises `UnknownModel`, `WeightsMissing`, `WeightsCorrupt`.
    """
    folder = folder or WEIGHTS / name
    manifest = _read_manifest(name, folder)
    constants = load_file(folder / CONSTANTS)
    print_ = fingerprint(manifest)
    if print_ != manifest["fingerprint"]:
        raise WeightsCorrupt(f"the fingerprint in {folder / MANIFEST} is not that of its files and constants")
    spaces = {}
    for space in manifest["gallery"]:
        prior = constants[f"{space}/{PRIOR}"]
        means = {m: constants[f"{space}/{m}"] for m in manifest["default_spaces"]}
        spaces[space] = EmbeddingSpace(space, len(prior), print_, prior, means)
    return Bundle(
        name,
        print_,
        load_fourm(folder / NETWORK),
        {space: load_vqvae(folder / f"{space}.safetensors") for space in spaces},
        load_projection(folder / PROJECTION),
        spaces,
        manifest["default_spaces"],
        manifest["gallery"],
        _load_shortcuts(folder / SHORTCUTS),
    )


def _load_shortcuts(path: Path) -> Shortcuts:
    shortcuts = Shortcuts()
    load_strictly(shortcuts, path, torch.float32)
    return shortcuts.eval().requires_grad_(False)


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """sha256 over the files' checksums, encoders, preprocessing version and what the manifest says of the spaces."""
    told = {key: manifest[key] for key in ("files", "default_spaces", "gallery")}
    told |= {"preprocessing": VERSION, "encoders": encoders_digest()}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _read_manifest(name: str, folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in WEIGHTS.glob("*") if path.is_dir()))
        raise UnknownModel(f"no bundled weights are called {name!r}; there are {known or 'none'}")
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = dict(manifest["files"])
    except FileNotFoundError as error:
        raise WeightsMissing(f"there is no {MANIFEST} in {folder}") from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise WeightsCorrupt(f"{folder / MANIFEST} is no manifest of weights: {error}") from error
    for file, digest in files.items():
        if not (folder / file).is_file():
            raise WeightsMissing(f"the weights file {file} is not in {folder}")
        if file_digest(folder / file) != digest:
            raise WeightsCorrupt(f"{folder / file} is not what its checksum in {MANIFEST} says")
    return manifest
