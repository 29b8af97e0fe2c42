"""Weights that ship with the package: a folder in `model/weights/` with a manifest, safetensors and a vocabulary.

Two sets of weights may share a network: the manifest of one names the sibling folder of the other as its `network`, and
its own folder has only the towers (`anyseek.model.towers`) and the decoder of images
(`anyseek.model.fourm.bundled.dense_decoder`).

`manifest.json` records the sha256 of every file, the default space of each query modality, whether each space's gallery
is `exact` or `predicted`, how to fuse the parts of a query (`fusion`, late unless it says joint), the label names
(`classes`), the calibration of captions (`caption_certainty`) and of answers to questions about pictures
(`picture_answers`, both `anyseek.model.towers.captions`), the licence of the weights and the fingerprint. The
fingerprint covers vectors of items: replacing the decoder of images, the constants of relevance
(`anyseek.model.towers.relevance`), or the reader of drawings (`anyseek.model.towers.drawings`), which changes only
queries and items that are drawings alone, does not invalidate collections. `retired` has the checksums of files,
removed or replaced since, that fingerprints still include so that these do not change: the replaced towers weigh the
blocks of queries otherwise and give photos the same vectors. Matrices may be stored quantised
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
from anyseek.model.encoders.languages import FILE as LANGUAGES
from anyseek.model.encoders.languages import LanguageMap, load_language_map
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
from anyseek.model.towers.drawings import FILE as DRAWINGS
from anyseek.model.towers.drawings import load_drawings
from anyseek.model.towers.relevance import FILE as RELEVANCE
from anyseek.model.towers.relevance import load_relevance
from anyseek.model.towers.space import CLASSES_FILE, PHOTO, SHARES, load_towers
from anyseek.model.towers.space import FILE as TOWERS

WEIGHTS = Path(__file__).parents[2] / "weights"
MANIFEST = "manifest.json"
NETWORK, PROJECTION = "network.safetensors", "projection.safetensors"
SHORTCUTS, CONSTANTS = "shortcuts.safetensors", "constants.safetensors"
VOCABULARY = "vocabulary.json"
TOWERS_SPACE = "photo_global"  # the space of towers
# Keys of the manifest; no vector depends on the first two.
CERTAINTY = "caption_certainty"  # calibration of captions
ANSWERS = "picture_answers"  # calibration of answers to questions about pictures
TOWERS_FOR = "towers_for"  # modalities whose default space is the towers'
GALLERIES = ("exact", "predicted")  # kinds of gallery vectors
PRIOR = "gallery_prior"  # constants are called `<space>/gallery_prior` and `<space>/<modality>`
RETIRED = "retired"  # of the manifest
_FINGERPRINTED = ("files", "default_spaces", "gallery")  # manifest entries covered by the fingerprint
_Entry = TypeVar("_Entry")
_UNSHARED = (TOWERS, DECODER, RELEVANCE, DRAWINGS, LANGUAGES)  # files that are not shared with another set
# Files that no vector of an item with a picture or English words depends on.
_NO_VECTORS = (DECODER, RELEVANCE, DRAWINGS, LANGUAGES)


@dataclass(frozen=True)
class Bundle:
    """A bundled model without its encoders, in evaluation mode.

    `inputs` are the modalities that its network takes, `text` is the vocabulary of its sequences, and `dense` are the
    modalities that it predicts as images. Optional: `decoder` decodes these images from inputs that an encoder sees,
    `towers_space` is the space of the towers, `certainty` rates its captions, `answers` answers questions about
    pictures, and `language_map` takes words in other languages.
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
    towers_space: TowersSpace | None
    decoder: DenseDecoder | None
    certainty: Calibration | None = None
    answers: Answers | None = None
    language_map: LanguageMap | None = None

    def modules(self) -> Iterator[nn.Module]:
        """All modules with weights, after loading lazy decoders of images. Raises `CheckpointMismatch`."""
        yield from (self.network, *self.tokenizers.values(), self.projection, self.shortcuts)
        yield from (target.decoder() for target in self.dense.values())
        yield from () if self.towers_space is None else (self.towers_space.towers,)
        yield from () if self.decoder is None else (self.decoder,)


def check_bundle(name: str, folder: Path) -> None:
    """Load a bundle completely, lazy parts included. Raises what `load_bundle` and `Bundle.modules` raise."""
    tuple(load_bundle(name, folder).modules())


def load_bundle(name: str, folder: Path | None = None) -> Bundle:
    """Load the bundled model `name` and verify every file. `folder` replaces the package's own for unreleased weights.

    Raises `UnknownModel`, `WeightsMissing`, `WeightsCorrupt`, `ConfigInvalid`, `CheckpointMismatch`.
    """
    folder = folder or WEIGHTS / name
    manifest = _read_manifest(name, folder)
    own, folder = folder, _network_folder(manifest, folder)
    network = load_fourm(folder / NETWORK)
    inputs = tuple(modality for modality, row in INPUTS.items() if row.key in network.config.domains_in)
    spaces = _load_spaces(manifest, inputs, folder)
    shortcuts = _load_checked_shortcuts(folder / SHORTCUTS, spaces)
    return Bundle(
        name,
        manifest["fingerprint"],
        inputs,
        network,
        {space: load_vqvae(folder / f"{space}.safetensors") for space in spaces},
        load_projection(folder / PROJECTION),
        spaces,
        {**manifest["default_spaces"], **dict.fromkeys(manifest.get(TOWERS_FOR, ()), TOWERS_SPACE)},
        manifest["gallery"],
        Fusion(manifest.get("fusion", Fusion.LATE)),
        shortcuts,
        _load_text(folder / VOCABULARY, network.config),
        load_dense(folder, manifest, network.config),
        _load_towers_space(manifest, own / TOWERS, folder / CLASSES_FILE, shortcuts),
        _load_decoder(manifest, own / DECODER),
        _parse_entry(manifest, CERTAINTY, "how sure captions are", own / MANIFEST, Calibration),
        _parse_answers(manifest, own / MANIFEST),
        load_language_map(own / LANGUAGES) if LANGUAGES in manifest["files"] else None,
    )


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """sha256 over everything that vectors depend on: file checksums, encoders, preprocessing and space entries."""
    entries = {key: manifest[key] for key in _FINGERPRINTED}
    files = {name: digest for name, digest in manifest["files"].items() if name not in _NO_VECTORS}
    entries["files"] = {**files, **manifest.get(RETIRED, {})}
    entries |= {"preprocessing": VERSION, "encoders": encoders_digest()}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _read_manifest(name: str, folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in WEIGHTS.glob("*") if path.is_dir()))
        raise UnknownModel(f"{name!r} does not name bundled weights; the names are {known or 'none'}")
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        entries = {key: dict(manifest[key]) for key in _FINGERPRINTED}
        stated = manifest["fingerprint"]
    except FileNotFoundError as error:
        raise WeightsMissing(f"there is no {MANIFEST} in {folder}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsCorrupt(f"{path} is not a manifest of weights: {error}") from error
    tokenizers = [f"{space}.safetensors" for space in entries["gallery"]]
    needed = (NETWORK, PROJECTION, SHORTCUTS, CONSTANTS, VOCABULARY, *tokenizers)
    if unlisted := [file for file in needed if file not in entries["files"]]:
        raise WeightsCorrupt(f"{path} lists no file {unlisted[0]}")
    for file, digest in entries["files"].items():
        file_path = (folder if file in _UNSHARED else _network_folder(manifest, folder)) / file
        if not file_path.is_file():
            raise WeightsMissing(f"the weights file {file} is not in {file_path.parent}")
        if file_digest(file_path) != digest:
            raise WeightsCorrupt(f"{file_path} does not have the checksum in the {MANIFEST} of {folder}")
    _check_values(manifest, path)
    if fingerprint(manifest) != stated:
        raise WeightsCorrupt(f"the fingerprint in {path} does not match its files and constants")
    return manifest


def _check_values(manifest: Mapping[str, Any], path: Path) -> None:
    """Raise `WeightsCorrupt` if an enumerated entry of a manifest has an unknown value."""
    spaces = tuple(manifest["gallery"])
    if TOWERS_FOR in manifest and TOWERS not in manifest["files"]:
        raise WeightsCorrupt(f"{path} names modalities for towers, and lists no file {TOWERS}")
    choices: list[tuple[str, object, tuple[str, ...]]] = [("fusion", manifest.get("fusion", Fusion.LATE), ONE_VECTOR)]
    choices += [(f"the gallery of {space}", kind, GALLERIES) for space, kind in manifest["gallery"].items()]
    choices += [(f"the default space of {name}", space, spaces) for name, space in manifest["default_spaces"].items()]
    for what, value, known in choices:
        if value not in known:
            raise WeightsCorrupt(f"{path} says that {what} is {value!r}; it is one of {', '.join(known)}")


def _network_folder(manifest: Mapping[str, Any], folder: Path) -> Path:
    """The folder of the network and all other files that two sets may share."""
    return folder.parent / manifest["network"] if "network" in manifest else folder


def _load_spaces(manifest: Mapping[str, Any], inputs: tuple[str, ...], folder: Path) -> dict[str, EmbeddingSpace]:
    """Load the spaces with their constants. Raises `WeightsCorrupt` for an input without default space or mean."""
    path, defaults, spaces = folder / CONSTANTS, manifest["default_spaces"], {}
    constants = load_file(path)
    for modality in inputs:
        if modality not in defaults:
            raise WeightsCorrupt(f"{folder / MANIFEST} names no default space for {modality}, which its network takes")
    for space in manifest["gallery"]:
        prior = _mean_of(constants, f"{space}/{PRIOR}", path)
        means = {modality: _mean_of(constants, f"{space}/{modality}", path) for modality in inputs}
        spaces[space] = EmbeddingSpace(space, len(prior), manifest["fingerprint"], prior, means)
    return spaces


def _load_towers_space(
    manifest: Mapping[str, Any], path: Path, classes: Path, shortcuts: Shortcuts
) -> TowersSpace | None:
    """Load the towers' space, None for a bundle without towers. Raises what `load_towers` raises.

    Raises `WeightsCorrupt` if the towers need words of pictures and no shortcut predicts them.
    """
    if TOWERS not in manifest["files"]:
        return None
    has_words = PHOTO in shortcuts.inputs and SEMANTIC in shortcuts.spaces
    towers = load_towers(path, classes, shortcuts.shortcut(PHOTO, SEMANTIC).forward if has_words else None)
    if towers.shape.told and not has_words:
        raise WeightsCorrupt(f"{path} needs words of pictures; {SHORTCUTS} beside its network has no map to {SEMANTIC}")
    if DRAWINGS in manifest["files"]:
        towers.set_reader(load_drawings(path.with_name(DRAWINGS)))
    prior = towers.get_buffer("prior").numpy()
    has_relevance = RELEVANCE in manifest["files"]
    typical_queries, curves = load_relevance(path.with_name(RELEVANCE), len(prior)) if has_relevance else ({}, {})
    about = EmbeddingSpace(
        TOWERS_SPACE,
        len(prior),
        manifest["fingerprint"],
        prior,
        blocks=towers.blocks,
        shares=SHARES,
        typical_queries=typical_queries,
        relevance=curves,
    )
    return TowersSpace(about, towers, SEMANTIC)


def _parse_entry(manifest: Mapping[str, Any], key: str, what: str, path: Path, kind: type[_Entry]) -> _Entry | None:
    """Parse a manifest entry as `kind`, None without the entry or towers. Raises `WeightsCorrupt`."""
    if key not in manifest or TOWERS not in manifest["files"]:
        return None
    try:
        return TypeAdapter(kind).validate_python(manifest[key])
    except ValidationError as error:
        raise WeightsCorrupt(f"{path} does not say {what}: {sentence(error)}") from error


def _parse_answers(manifest: Mapping[str, Any], path: Path) -> Answers | None:
    answers = _parse_entry(manifest, ANSWERS, "how questions about pictures are answered", path, Answers)
    if answers is not None and answers.words != len(general_words()):
        raise WeightsCorrupt(f"{path} weighs {answers.words} words; there are {len(general_words())}")
    return answers


def _load_decoder(manifest: Mapping[str, Any], path: Path) -> DenseDecoder | None:
    """Load the decoder of images. Raises `WeightsCorrupt` if it has fewer labels than the manifest names."""
    if DECODER not in manifest["files"]:
        return None
    decoder = load_decoder(path)
    named = manifest.get(CLASSES, {}).get("semseg", {})
    if decoder.labels <= max(map(int, named), default=0):
        raise WeightsCorrupt(f"{path} has {decoder.labels} labels; {MANIFEST} names {max(map(int, named))} beside none")
    return decoder


def _mean_of(constants: Mapping[str, Any], name: str, path: Path) -> FloatArray:
    if name not in constants:
        raise WeightsCorrupt(f"{path} lacks the mean {name}")
    return np.asarray(constants[name], np.float32)


def _load_checked_shortcuts(path: Path, spaces: Mapping[str, EmbeddingSpace]) -> Shortcuts:
    """Load the shortcuts to all spaces. Raises `WeightsCorrupt` for other inputs or spaces."""
    shortcuts = load_shortcuts(path)
    wanted = {name: space.dimension for name, space in spaces.items()}
    if not shortcuts.inputs.keys() <= INPUTS.keys() or shortcuts.spaces != wanted:
        raise WeightsCorrupt(
            f"{path} has shortcuts from {', '.join(shortcuts.inputs)} to {', '.join(shortcuts.spaces)}; "
            f"they must lead from {', '.join(INPUTS)} or from modalities of {DECLARATIONS} to {', '.join(wanted)}"
        )
    return shortcuts.eval().requires_grad_(False)


def _load_text(path: Path, config: FourMConfig) -> TextTokenizer:
    """Load the vocabulary. Raises `WeightsCorrupt` if it has more ids than a sequence of the network."""
    text = TextTokenizer.from_file(path)
    for key in (*config.domains_in, *config.domains_out):
        row = config.row(key)
        if row.kind is EmbeddingKind.SEQUENCE and row.vocabulary < text.vocabulary_size:
            raise WeightsCorrupt(f"{path} has {text.vocabulary_size} ids; the network knows {row.vocabulary} of {key}")
    return text
