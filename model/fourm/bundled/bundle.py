"""Weights that ship with the package: a folder in `model/weights/` with a manifest, safetensors and a vocabulary.

Two sets of weights may share a network: the manifest of one names the folder of the other, beside its own, as its
`network`, and its own folder has only the towers (`anyseek.model.towers`) and the decoder of images
(`anyseek.model.fourm.bundled.dense_decoder`).

`manifest.json` records the sha256 of every file, the default space of each query modality, whether each space's gallery
is `exact` or `predicted`, how to fuse the parts of a query (`fusion`, late unless it says joint), the label names
(`classes`), how sure captions are (`caption_certainty`, `anyseek.model.towers.captions`), how words answer questions
about pictures (`picture_answers`, `anyseek.model.towers.captions`), the licence of the weights and the fingerprint. The
fingerprint is that of vectors: the decoder of images may be exchanged without making collections invalid. `retired` has
the checksums of files that are gone, and that fingerprints counted before it was so. Matrices may be stored quantised
(`anyseek.model.checkpoints.quantized`). Modalities that the network predicts as image tokens come with a decoder
(`anyseek.model.fourm.bundled.images`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import load_file
from torch import nn

from anyseek.model.checkpoints.files import load_fourm, load_vqvae
from anyseek.model.config import sentence
from anyseek.model.encoders.preprocess import VERSION
from anyseek.model.encoders.pull import encoders_digest
from anyseek.model.errors import UnknownModel, WeightsCorrupt, WeightsMissing
from anyseek.model.files import file_digest
from anyseek.model.fourm.bundled.dense_decoder import FILE as DECODER
from anyseek.model.fourm.bundled.dense_decoder import DenseDecoder, load_decoder
from anyseek.model.fourm.bundled.images import CLASSES, DenseTarget, load_dense
from anyseek.model.fourm.bundled.layout import INPUTS, SEMANTIC
from anyseek.model.fourm.bundled.shortcuts import Projection, Shortcuts, load_projection, load_shortcuts
from anyseek.model.fourm.spaces import TowersSpace
from anyseek.model.modalities.registry import DECLARATIONS
from anyseek.model.network.config import EmbeddingKind, FourMConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.seam import ONE_VECTOR, EmbeddingSpace, FloatArray, Fusion
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.towers.captions import Answers, Calibration, general_words
from anyseek.model.towers.space import CLASSES_FILE, PHOTO, SHARES, load_towers
from anyseek.model.towers.space import FILE as TOWERS

WEIGHTS = Path(__file__).parents[2] / "weights"
MANIFEST = "manifest.json"
NETWORK, PROJECTION = "network.safetensors", "projection.safetensors"
SHORTCUTS, CONSTANTS = "shortcuts.safetensors", "constants.safetensors"
VOCABULARY = "vocabulary.json"
JOINT = "photo_global"  # the space of towers
CERTAINTY = "caption_certainty"  # of the manifest: how sure captions are, which no vector depends on
ANSWERS = "picture_answers"  # of the manifest: how words answer questions about pictures, which no vector depends on
TOWERS_FOR = "towers_for"  # of the manifest: the modalities whose default is that space instead of the network's
GALLERIES = ("exact", "predicted")  # how the vectors of a space's gallery may be made
PRIOR = "gallery_prior"  # constants are called `<space>/gallery_prior` and `<space>/<modality>`
RETIRED = "retired"  # of the manifest
_TOLD = ("files", "default_spaces", "gallery")  # the fingerprint is of these
_Stated = TypeVar("_Stated")
_OWN = (TOWERS, DECODER)  # files that a set which shares a network has itself


@dataclass(frozen=True)
class Bundle:
    """A bundled model without its encoders, in evaluation mode.

    `inputs` are the modalities that its network takes, `text` is the vocabulary of its sequences, and `dense` are the
    modalities that it predicts as images. `decoder` makes these of inputs that an encoder sees; `joint` is the space of
    towers, `certainty` tells how sure its captions are, and `answers` answers questions about pictures; a bundle may
    have none of them.
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
    joint: TowersSpace | None
    decoder: DenseDecoder | None
    certainty: Calibration | None = None
    answers: Answers | None = None

    def modules(self) -> Iterator[nn.Module]:
        """Everything in it that has weights; loads decoders of images that nothing has used yet.

        Raises `CheckpointMismatch` for one that does not fit.
        """
        yield from (self.network, *self.tokenizers.values(), self.projection, self.shortcuts)
        yield from (target.decoder() for target in self.dense.values())
        yield from () if self.joint is None else (self.joint.towers,)
        yield from () if self.decoder is None else (self.decoder,)


def check_bundle(name: str, folder: Path) -> None:
    """Load all of a bundle, also what is otherwise loaded with its first use. Raises as `load_bundle` and `modules`."""
    tuple(load_bundle(name, folder).modules())


def load_bundle(name: str, folder: Path | None = None) -> Bundle:
    """Load the bundled model `name` and verify every file. `folder` replaces the package's own for unreleased weights.

    Raises `UnknownModel`, `WeightsMissing`, `WeightsCorrupt`, `ConfigInvalid`, `CheckpointMismatch`.
    """
    folder = folder or WEIGHTS / name
    manifest = _read_manifest(name, folder)
    own, folder = folder, _folder_of_network(manifest, folder)
    network = load_fourm(folder / NETWORK)
    inputs = tuple(modality for modality, row in INPUTS.items() if row.key in network.config.domains_in)
    spaces = _spaces(manifest, inputs, folder)
    shortcuts = _shortcuts(folder / SHORTCUTS, spaces)
    return Bundle(
        name,
        manifest["fingerprint"],
        inputs,
        network,
        {space: load_vqvae(folder / f"{space}.safetensors") for space in spaces},
        load_projection(folder / PROJECTION),
        spaces,
        {**manifest["default_spaces"], **dict.fromkeys(manifest.get(TOWERS_FOR, ()), JOINT)},
        manifest["gallery"],
        Fusion(manifest.get("fusion", Fusion.LATE)),
        shortcuts,
        _text(folder / VOCABULARY, network.config),
        load_dense(folder, manifest, network.config),
        _joint(manifest, own / TOWERS, folder / CLASSES_FILE, shortcuts),
        _decoder(manifest, own / DECODER),
        _stated(manifest, CERTAINTY, "how sure captions are", own / MANIFEST, Calibration),
        _answers(manifest, own / MANIFEST),
    )


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """sha256 over all that vectors depend on: files' checksums, encoders, preprocessing and the space entries."""
    told = {key: manifest[key] for key in _TOLD}
    counted = {name: digest for name, digest in manifest["files"].items() if name != DECODER}
    told["files"] = {**counted, **manifest.get(RETIRED, {})}
    told |= {"preprocessing": VERSION, "encoders": encoders_digest()}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _read_manifest(name: str, folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in WEIGHTS.glob("*") if path.is_dir()))
        raise UnknownModel(f"{name!r} does not name bundled weights; the names are {known or 'none'}")
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        told = {key: dict(manifest[key]) for key in _TOLD}
        stated = manifest["fingerprint"]
    except FileNotFoundError as error:
        raise WeightsMissing(f"there is no {MANIFEST} in {folder}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsCorrupt(f"{path} is not a manifest of weights: {error}") from error
    tokenizers = [f"{space}.safetensors" for space in told["gallery"]]
    needed = (NETWORK, PROJECTION, SHORTCUTS, CONSTANTS, VOCABULARY, *tokenizers)
    if unlisted := [file for file in needed if file not in told["files"]]:
        raise WeightsCorrupt(f"{path} lists no file {unlisted[0]}")
    for file, digest in told["files"].items():
        place = (folder if file in _OWN else _folder_of_network(manifest, folder)) / file
        if not place.is_file():
            raise WeightsMissing(f"the weights file {file} is not in {place.parent}")
        if file_digest(place) != digest:
            raise WeightsCorrupt(f"{place} does not have the checksum in the {MANIFEST} of {folder}")
    _check_choices(manifest, path)
    if fingerprint(manifest) != stated:
        raise WeightsCorrupt(f"the fingerprint in {path} does not match its files and constants")
    return manifest


def _check_choices(manifest: Mapping[str, Any], path: Path) -> None:
    """Raise `WeightsCorrupt` for a choice in a manifest that there is not."""
    spaces = tuple(manifest["gallery"])
    if TOWERS_FOR in manifest and TOWERS not in manifest["files"]:
        raise WeightsCorrupt(f"{path} names modalities for towers, and lists no file {TOWERS}")
    chosen: list[tuple[str, object, tuple[str, ...]]] = [("fusion", manifest.get("fusion", Fusion.LATE), ONE_VECTOR)]
    chosen += [(f"the gallery of {space}", kind, GALLERIES) for space, kind in manifest["gallery"].items()]
    chosen += [(f"the default space of {name}", space, spaces) for name, space in manifest["default_spaces"].items()]
    for what, value, known in chosen:
        if value not in known:
            raise WeightsCorrupt(f"{path} says that {what} is {value!r}; it is one of {', '.join(known)}")


def _folder_of_network(manifest: Mapping[str, Any], folder: Path) -> Path:
    """The folder with all files that two sets may share."""
    return folder.parent / manifest["network"] if "network" in manifest else folder


def _spaces(manifest: Mapping[str, Any], inputs: tuple[str, ...], folder: Path) -> dict[str, EmbeddingSpace]:
    """The spaces with their constants. Raises `WeightsCorrupt` for an input without default space or mean."""
    path, defaults, spaces = folder / CONSTANTS, manifest["default_spaces"], {}
    constants = load_file(path)
    for modality in inputs:
        if modality not in defaults:
            raise WeightsCorrupt(f"{folder / MANIFEST} names no default space for {modality}, which its network takes")
    for space in manifest["gallery"]:
        prior = _constant(constants, f"{space}/{PRIOR}", path)
        means = {modality: _constant(constants, f"{space}/{modality}", path) for modality in inputs}
        spaces[space] = EmbeddingSpace(space, len(prior), manifest["fingerprint"], prior, means)
    return spaces


def _joint(manifest: Mapping[str, Any], path: Path, classes: Path, shortcuts: Shortcuts) -> TowersSpace | None:
    """The towers' space, None for a bundle without towers. Raises what `load_towers` raises.

    Raises `WeightsCorrupt` for towers that need words of pictures where no shortcut tells any.
    """
    if TOWERS not in manifest["files"]:
        return None
    has_words = PHOTO in shortcuts.inputs and SEMANTIC in shortcuts.spaces
    towers = load_towers(path, classes, shortcuts.of(PHOTO, SEMANTIC).forward if has_words else None)
    if towers.shape.told and not has_words:
        raise WeightsCorrupt(f"{path} needs words of pictures; {SHORTCUTS} beside its network has no map to {SEMANTIC}")
    prior = towers.get_buffer("prior").numpy()
    about = EmbeddingSpace(JOINT, len(prior), manifest["fingerprint"], prior, blocks=towers.blocks, shares=SHARES)
    return TowersSpace(about, towers, SEMANTIC)


def _stated(manifest: Mapping[str, Any], key: str, what: str, path: Path, kind: type[_Stated]) -> _Stated | None:
    """An entry as an object of its kind, None without it or towers. Raises `WeightsCorrupt`."""
    if key not in manifest or TOWERS not in manifest["files"]:
        return None
    try:
        return TypeAdapter(kind).validate_python(manifest[key])
    except ValidationError as error:
        raise WeightsCorrupt(f"{path} does not say {what}: {sentence(error)}") from error


def _answers(manifest: Mapping[str, Any], path: Path) -> Answers | None:
    answers = _stated(manifest, ANSWERS, "how questions about pictures are answered", path, Answers)
    if answers is not None and answers.words != len(general_words()):
        raise WeightsCorrupt(f"{path} weighs {answers.words} words; there are {len(general_words())}")
    return answers


def _decoder(manifest: Mapping[str, Any], path: Path) -> DenseDecoder | None:
    """The decoder of images. Raises `WeightsCorrupt` for one that has fewer labels than the manifest names."""
    if DECODER not in manifest["files"]:
        return None
    decoder = load_decoder(path)
    named = manifest.get(CLASSES, {}).get("semseg", {})
    if decoder.labels <= max(map(int, named), default=0):
        raise WeightsCorrupt(f"{path} has {decoder.labels} labels; {MANIFEST} names {max(map(int, named))} beside none")
    return decoder


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
            f"they must lead from {', '.join(INPUTS)} or from modalities of {DECLARATIONS} to {', '.join(wanted)}"
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
