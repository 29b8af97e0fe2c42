"""Turn a finished run of `anyseek train model` into bundled weights.

    python -m anyseek.model.training.release RUN --to FOLDER [--bundle FOLDER] [--samples 600] [--without NAME]

Writes the averaged network, tokenizers and shortcuts as int8, the decoders of what is predicted as images, the
vocabulary, and the projection of the bundle through which the run's data sets were made. With what it wrote it measures
on validation samples the means of query vectors, and in which space queries of each modality do best. It takes over the
towers, the decoder of images, the constants of relevance and the reader of drawings of the weights that the run began
with. The same run makes the same bytes.
"""

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from safetensors.torch import save_file
from torch import Tensor

from anyseek.model.checkpoints.files import load_fourm, load_tokenizer, load_vqvae, save_checkpoint
from anyseek.model.checkpoints.quantized import quantize
from anyseek.model.data.contents import decode_value
from anyseek.model.data.samples import Split
from anyseek.model.files import file_digest, write_file
from anyseek.model.fourm.bundled.bundle import (
    ANSWERS,
    CERTAINTY,
    CONSTANTS,
    MANIFEST,
    NETWORK,
    PROJECTION,
    SHORTCUTS,
    TOWERS_FOR,
    VOCABULARY,
    WEIGHTS,
    check_bundle,
    fingerprint,
)
from anyseek.model.fourm.bundled.dense_decoder import FILE as DECODER
from anyseek.model.fourm.bundled.images import CLASSES, decoder_file, token_difference
from anyseek.model.fourm.bundled.layout import DENSE, INPUTS
from anyseek.model.fourm.bundled.shortcuts import load_shortcuts
from anyseek.model.home import default_home
from anyseek.model.modalities import coco
from anyseek.model.modalities.formats.bins import MAX_BIN, Bin, read_words
from anyseek.model.modalities.formats.color_palette import MAX_COLOURS
from anyseek.model.modalities.formats.metadata import FIELDS
from anyseek.model.network.config import ConfigInvalid, FourMConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.seam import Fusion, Regions
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_vqvae import ImageDecoder, ImageVQVAE
from anyseek.model.tokenizers.inputs import input_kind
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.towers.drawings import FILE as DRAWINGS
from anyseek.model.towers.relevance import FILE as RELEVANCE
from anyseek.model.towers.space import CLASSES_FILE, load_towers
from anyseek.model.towers.space import FILE as TOWERS
from anyseek.model.training.pretraining.batches import BatchSource
from anyseek.model.training.pretraining.config import ContrastConfig, FieldKind, TrainingConfig, read_config
from anyseek.model.training.pretraining.plan import make_plan
from anyseek.model.training.pretraining.start import TEXT_TABLES, start_files, text_keys
from anyseek.model.training.query_means import GALLERY, Measurements, measure
from anyseek.model.training.run.config import DataConfig
from anyseek.model.training.run.data_sets import entries_of, open_split
from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.run.folder import RunFolder

Classes = dict[str, dict[int, str]]  # by modality the name of each label

# Modalities that the network's own spaces find better: what it predicts from a palette, no look of it says.
BETTER_PREDICTED = frozenset({"color_palette"})
_AT_ONCE = 32  # samples of a batch
LICENCE = "CC BY-SA 4.0 (weights; trained in part on CC BY-SA and CC BY art). The code's licence does not cover them."


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="Its name is the model's.")
@click.option(
    "--bundle",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=WEIGHTS / "4m-tiny",
    help="The bundle whose projection made the data sets.",
)
@click.option("--samples", type=int, default=600, help="Validation samples of each data set.")
@click.option(
    "--without",
    type=click.Choice(list(DENSE)),
    multiple=True,
    help="An image that the run learned to predict and the bundle does not, such as canny_edge; may be repeated.",
)
def main(run: Path, to: Path, bundle: Path, samples: int, without: tuple[str, ...]) -> None:
    """Turn the finished run in the folder RUN into bundled weights."""
    release(run, to, bundle, samples, without)


def release(run: Path, to: Path, bundle: Path, samples: int, without: Collection[str] = ()) -> None:
    """Write the bundle of a run into the folder `to`; the options are those of the command.

    Raises `TrainingConfigInvalid` for a run whose inputs and targets are not those of bundled networks, and what
    reading its files raises.
    """
    folder = RunFolder(run)
    config = read_config(folder.config)
    left_out = {DENSE[name] for name in without}
    config = config.model_copy(update={"modalities": tuple(m for m in config.modalities if m.key not in left_out)})
    contrast = _check_config(config)
    to.mkdir(parents=True, exist_ok=True)
    classes = _write_weights(config, contrast, folder, bundle, to)
    began = None if config.start is None else start_files(config.start.source, default_home())
    known = Measurements.of_bundle(began.network.parent) if began is not None and began.by_modality else None
    measured = measure(config, contrast, to, _validation_source(config, to), samples, print, known)
    save_file(measured.constants, to / CONSTANTS)
    files = sorted(path.name for path in to.iterdir() if path.name != MANIFEST)
    manifest = {
        "name": to.name,
        "licence": LICENCE,
        "files": {name: file_digest(to / name) for name in files},
        "default_spaces": measured.default_spaces,
        "gallery": GALLERY,
        CLASSES: classes,
        "fusion": Fusion.LATE,
    }
    _write_manifest(manifest, to)
    if began is not None and (towers := began.network.with_name(TOWERS)).is_file():
        write_towers(towers, to, to)
    for name in (DECODER, RELEVANCE, DRAWINGS):
        if began is not None and (kept := began.network.with_name(name)).is_file():
            add_file(kept, to)
    size = sum(path.stat().st_size for path in to.iterdir())
    print(f"made {to}: {size / 2**20:.1f} MiB, {measured.default_spaces}")


def _check_config(config: TrainingConfig) -> ContrastConfig:
    if config.contrast is None or set(config.contrast.targets) != set(GALLERY):
        raise TrainingConfigInvalid(f"a bundle needs a run with contrast of {' and '.join(GALLERY)}")
    known = [*(row.key for row in INPUTS.values()), *(DENSE[name] for name in dense_targets(config))]
    if odd := [m.key for m in config.modalities if m.input and m.key not in known]:
        raise TrainingConfigInvalid(f"bundled networks take {', '.join(known)}; the run's network takes {odd[0]}")
    return config.contrast


def _write_weights(config: TrainingConfig, contrast: ContrastConfig, run: RunFolder, bundle: Path, to: Path) -> Classes:
    """Write everything but constants and manifest; returns the names of labels."""
    whole = load_fourm(run.model)
    network = without_targets(whole, set(whole.config.domains_out) - {modality.key for modality in config.modalities})
    network, vocabulary = trim_vocabulary(network, run.vocabulary.read_text(encoding="utf-8"))
    save_checkpoint(network, to / NETWORK, torch.int8, used_rows(network, vocabulary))
    (to / VOCABULARY).write_text(vocabulary, encoding="utf-8")
    for modality in config.modalities:
        if modality.key in contrast.targets and modality.tokenizer is not None:
            save_checkpoint(load_vqvae(modality.tokenizer), to / f"{modality.key}.safetensors", torch.int8)
    shortcuts = load_shortcuts(run.shortcuts).renamed({row.key: modality for modality, row in INPUTS.items()})
    save_file(quantize(shortcuts.state_dict()), to / SHORTCUTS)
    if (bundle / PROJECTION).resolve() != (to / PROJECTION).resolve():
        shutil.copyfile(bundle / PROJECTION, to / PROJECTION)
    return write_decoders(config, network.config, to)


def _validation_source(config: TrainingConfig, bundle: Path) -> BatchSource:
    """Batches of the split `val`, with the vocabulary and the tokenizers of vectors from the folder `bundle`."""
    text = TextTokenizer.from_file(bundle / VOCABULARY) if config.text is not None else None
    vectors = [modality.key for modality in config.modalities if modality.kind is FieldKind.VECTOR]
    plan = make_plan(config, text, {key: load_vqvae(bundle / f"{key}.safetensors").config for key in vectors})
    data = open_split(config.data, Split.VAL)
    return BatchSource(plan, config.mixture, data, config.data.window, _AT_ONCE, config.seed)


def _write_manifest(manifest: dict[str, Any], to: Path) -> None:
    """Complete a bundle. Raises what `check_bundle` raises for one that would not be served."""
    manifest["fingerprint"] = fingerprint(manifest)
    write_file(to / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    check_bundle(to.name, to)


def add_file(file: Path, to: Path) -> None:
    """Put a decoder of images, constants of relevance or a reader of drawings into the bundle `to`.

    The fingerprint stays. The decoders of images that ship were fitted by `model/training/dense` of commit b3515be.
    Raises what `check_bundle` raises.
    """
    manifest: dict[str, Any] = json.loads((to / MANIFEST).read_text(encoding="utf-8"))
    if file.resolve() != (to / file.name).resolve():
        shutil.copyfile(file, to / file.name)
    manifest["files"][file.name] = file_digest(to / file.name)
    _write_manifest(manifest, to)


def write_towers(towers: Path, network: Path, to: Path) -> None:
    """Write the bundle `to` from the bundle in the folder `network` and the file of towers, beside that of classes.

    The towers' space becomes the default of every modality that they take, but for `BETTER_PREDICTED`. The towers that
    ship were fitted by `model/training/towers` of commit 2316ef6. Raises what `check_bundle` and `load_towers` raise.
    """
    taken = load_towers(towers).weights
    manifest: dict[str, Any] = json.loads((network / MANIFEST).read_text(encoding="utf-8"))
    to.mkdir(parents=True, exist_ok=True)
    if network.resolve() != to.resolve():
        for name in manifest["files"].keys() - {TOWERS, CLASSES_FILE}:
            shutil.copyfile(network / name, to / name)
    for file in (towers, towers.with_name(CLASSES_FILE)):
        name = TOWERS if file == towers else CLASSES_FILE
        shutil.copyfile(file, to / name)
        manifest["files"][name] = file_digest(to / name)
    manifest["name"] = to.name
    for fitted in (CERTAINTY, ANSWERS):
        manifest.pop(fitted, None)  # to other towers
    manifest[TOWERS_FOR] = sorted(taken.keys() - BETTER_PREDICTED)
    _write_manifest(manifest, to)


def dense_targets(config: TrainingConfig) -> dict[str, Path]:
    """The tokenizers of a run's image-token targets, by modality. Raises `TrainingConfigInvalid` if one is missing."""
    predicted = {modality.key: modality.tokenizer for modality in config.modalities if modality.target}
    found = {}
    for name, key in DENSE.items():
        if key in predicted:
            tokenizer = predicted[key]
            if tokenizer is None:
                raise TrainingConfigInvalid(
                    f"modalities.{key} has no tokenizer; a bundle needs one to make images of its tokens"
                )
            found[name] = tokenizer
    return found


def write_decoders(config: TrainingConfig, network: FourMConfig, to: Path) -> Classes:
    """Write the decoders of what a run's network predicts as int8, and remove others; returns the names of labels.

    Raises `TrainingConfigInvalid` for a tokenizer of other tokens, and what reading it and the data sets raises.
    """
    classes = {}
    targets = dense_targets(config)
    for name, path in targets.items():
        tokenizer = _decoding_tokenizer(name, path, network)
        save_checkpoint(ImageDecoder(tokenizer), to / decoder_file(name), torch.int8)
        if tokenizer.config.n_labels is not None:
            classes[name] = _label_names(name, tokenizer.config, config.data)
    for name in DENSE.keys() - targets.keys():
        (to / decoder_file(name)).unlink(missing_ok=True)
    return classes


def _decoding_tokenizer(name: str, path: Path, network: FourMConfig) -> ImageVQVAE:
    """The tokenizer of a modality. Raises `TrainingConfigInvalid` if it is none that a bundle can have."""
    tokenizer = load_tokenizer(path)
    if not isinstance(tokenizer, ImageVQVAE):
        raise TrainingConfigInvalid(
            f"{path} is a {type(tokenizer).__name__}; a bundle can only have decoders of ImageVQVAE"
        )
    try:
        input_kind(name, tokenizer.config)
    except ConfigInvalid as error:
        raise TrainingConfigInvalid(f"{path} is not a tokenizer of {name}: {error}") from error
    if difference := token_difference(network.row(DENSE[name]), tokenizer.config):
        raise TrainingConfigInvalid(f"{path} {difference}")
    return tokenizer


def _label_names(field: str, tokenizer: TokenizerConfig, data: DataConfig) -> dict[int, str]:
    """The name of each label of a tokenizer: COCO's where it has as many, else those in the training samples' maps."""
    if tokenizer.n_labels == len(coco.CLASSES) + 1:
        return dict(coco.LABELS)
    found: dict[int, str] = {}
    for _, entry in entries_of(open_split(data, Split.TRAIN), {field}):
        for name, content in entry.files.items():
            regions = decode_value(name, content)
            if isinstance(regions, Regions):
                found |= regions.classes
    return dict(sorted(found.items()))


_ALL_BINS = range(MAX_BIN + 1)
# The bins that each format writes, by checkpoint key and axis (`v0=`, `v1=`, …). Like the published one, a vocabulary
# has a thousand bins for each of four axes, half of its bytes; palettes and metadata write only some of two.
_BINS: Mapping[str, Mapping[int, range]] = {
    "caption": {},
    "color_palette": {0: range(256), 1: range(1, MAX_COLOURS + 1)},
    "metadata": {0: _ALL_BINS, 1: range(len(FIELDS))},
    "det": dict.fromkeys(range(4), _ALL_BINS),
}
_WORDED = frozenset({"caption", "det"})  # formats with words; special tokens may be in any


def may_hold(key: str, piece: str) -> bool:
    """Return whether texts of the modality `key` may have this piece of a vocabulary; True for unknown keys."""
    if key not in _BINS:
        return True
    words = read_words(piece)
    word = words[0] if words else None
    if isinstance(word, Bin):
        return word.value in _BINS[key].get(word.axis, ())
    return word is None or key in _WORDED


def used_rows(network: FourM, vocabulary: str) -> dict[str, Tensor]:
    """The ids int64 (k,) that texts of a modality may contain, by name of each table with one row per token."""
    numbers: dict[str, int] = json.loads(vocabulary)["model"]["vocab"]
    found: dict[str, Tensor] = {}
    for key in text_keys(network.config):
        ids = torch.tensor(sorted(number for piece, number in numbers.items() if may_hold(key, piece)))
        found |= {table.format(key): ids for table in TEXT_TABLES}
    return found


def trim_vocabulary(network: FourM, vocabulary: str) -> tuple[FourM, str]:
    """Reduce the network and its vocabulary (JSON of `tokenizers`) to the tokens that its texts use, renumbered."""
    written = json.loads(vocabulary)
    numbers: dict[str, int] = written["model"]["vocab"]
    config = network.config
    keys = text_keys(config)
    kept = sorted(number for piece, number in numbers.items() if any(may_hold(key, piece) for key in keys))
    renumbered = {number: place for place, number in enumerate(kept)}
    written["model"]["vocab"] = {piece: renumbered[n] for piece, n in numbers.items() if n in renumbered}
    written["added_tokens"] = [
        {**token, "id": renumbered[token["id"]]} for token in written["added_tokens"] if token["id"] in renumbered
    ]
    rows = {key: replace(config.row(key), vocabulary=len(kept)) for key in keys}
    smaller = FourM(replace(config, modalities={**config.modalities, **rows}))
    tables = {table.format(key) for key in keys for table in TEXT_TABLES}
    stored = network.state_dict()
    smaller.load_state_dict({name: tensor[kept] if name in tables else tensor for name, tensor in stored.items()})
    return smaller.eval(), json.dumps(written, ensure_ascii=False)


def without_targets(network: FourM, keys: Collection[str]) -> FourM:
    """The same network, which does not predict `keys`."""
    config = network.config
    smaller = FourM(replace(config, domains_out=tuple(key for key in config.domains_out if key not in keys)))
    stored = network.state_dict()
    smaller.load_state_dict({name: stored[name] for name in smaller.state_dict()})
    return smaller.eval()


if __name__ == "__main__":
    main()
