"""Turn a finished run of `anyseek train model` into bundled weights.

    python -m anyseek.model.training.release RUN --to FOLDER [--bundle FOLDER] [--samples 600] [--fusion late]
    [--without NAME]

Writes the averaged network, tokenizers and shortcuts as int8, the decoders of what is predicted as images, the
vocabulary, and the projection of the bundle through which the run's data sets were made. With what it wrote it measures
on validation samples the means of query vectors, and in which space queries of each modality do best. It takes over the
towers and the decoder of images of the weights that the run began with. The same run makes the same bytes.
"""

import argparse
import json
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from anyseek.model.checkpoints.files import load_fourm, load_vqvae, save_checkpoint
from anyseek.model.checkpoints.quantized import quantized
from anyseek.model.data.samples import Split
from anyseek.model.files import file_digest, write_file
from anyseek.model.fourm.bundled.bundle import (
    CONSTANTS,
    MANIFEST,
    NETWORK,
    PROJECTION,
    SHORTCUTS,
    VOCABULARY,
    WEIGHTS,
    check_bundle,
    fingerprint,
)
from anyseek.model.fourm.bundled.dense_decoder import FILE as DECODER
from anyseek.model.fourm.bundled.images import CLASSES
from anyseek.model.fourm.bundled.layout import DENSE, INPUTS
from anyseek.model.fourm.bundled.shortcuts import load_shortcuts
from anyseek.model.home import default_home
from anyseek.model.seam import ONE_VECTOR, Fusion
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.towers.space import FILE as TOWERS
from anyseek.model.training.pretraining.batches import BatchSource
from anyseek.model.training.pretraining.config import ContrastConfig, FieldKind, TrainingConfig
from anyseek.model.training.pretraining.plan import make_plan
from anyseek.model.training.pretraining.read_config import read_config
from anyseek.model.training.pretraining.start import start_files
from anyseek.model.training.release.images import Classes, dense_targets, write_decoders
from anyseek.model.training.release.query_means import GALLERY, Measured, measure
from anyseek.model.training.release.trimming import rows_of_use, trimmed, without_targets
from anyseek.model.training.run.data_sets import open_split
from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.run.folder import RunFolder
from anyseek.model.training.towers.bundling import write_bundle


def add_decoder(decoder: Path, to: Path) -> None:
    """Put the file of a decoder into the bundle `to`. Raises what `check_bundle` raises.

    Vectors do not depend on it, so the fingerprint stays. The decoders that ship were fitted by
    `model/training/dense` of commit b3515be.
    """
    manifest: dict[str, Any] = json.loads((to / MANIFEST).read_text(encoding="utf-8"))
    if decoder.resolve() != (to / DECODER).resolve():
        shutil.copyfile(decoder, to / DECODER)
    manifest["files"][DECODER] = file_digest(to / DECODER)
    manifest["fingerprint"] = fingerprint(manifest)
    write_file(to / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    check_bundle(to.name, to)  # refuses what would not be served


_ABOUT_WITHOUT = "an image that the run learned to predict and the bundle does not, such as canny_edge; may be repeated"
_ABOUT_FUSION = "how parts of queries do best, as `anyseek eval --compare fusion` says of these weights"
_AT_ONCE = 32  # samples of a batch
LICENCE = "CC BY-SA 4.0 (weights; trained in part on CC BY-SA and CC BY art). The code's licence does not cover them."


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--to", type=Path, required=True, help="the bundle's folder; its name is the model's")
    parser.add_argument("--bundle", type=Path, default=WEIGHTS / "4m-tiny", help="whose projection made the data sets")
    parser.add_argument("--samples", type=int, default=600, help="validation samples of each data set")
    parser.add_argument("--fusion", type=Fusion, choices=ONE_VECTOR, default=Fusion.LATE, help=_ABOUT_FUSION)
    parser.add_argument("--without", choices=list(DENSE), action="append", default=[], help=_ABOUT_WITHOUT)
    options = parser.parse_args()
    release(options.run, options.to, options.bundle, options.samples, options.fusion, options.without)


def release(
    run: Path, to: Path, bundle: Path, samples: int, fusion: Fusion = Fusion.LATE, without: Collection[str] = ()
) -> None:
    """Write the bundle of a run into the folder `to`.

    `fusion` is how the parts of queries do best with it: `anyseek eval --compare fusion` tells, once it is released.
    `without` are modalities that the run learned to predict as images and the bundle does not predict.

    Raises `TrainingConfigInvalid` for a run whose inputs and targets are not those of bundled networks, and what
    reading its files raises.
    """
    folder = RunFolder(run)
    config = _leaving_out(without, read_config(folder.config))
    contrast = _checked(config)
    to.mkdir(parents=True, exist_ok=True)
    classes = _write_weights(config, contrast, folder, bundle, to)
    unseen = batch_source(config, to, Split.VAL)
    measured = measure(config, contrast, to, unseen, samples, print, _known(config))
    save_file(measured.constants, to / CONSTANTS)
    _write_manifest(to, measured, fusion, classes)
    _take_towers(config, to)
    check_bundle(to.name, to)  # refuses what would not be served
    size = sum(path.stat().st_size for path in to.iterdir())
    print(f"made {to}: {size / 2**20:.1f} MiB, {measured.default_spaces}")


def _take_towers(config: TrainingConfig, to: Path) -> None:
    """Take over the towers and the decoder of images of the weights of before: they see the same encoders."""
    files = None if config.start is None else start_files(config.start.source, default_home())
    if files is None:
        return
    if (towers := files.network.with_name(TOWERS)).is_file():
        write_bundle(towers, to, to)
    if (decoder := files.network.with_name(DECODER)).is_file():
        add_decoder(decoder, to)


def _known(config: TrainingConfig) -> Measured | None:
    """What was measured of the bundled weights that a run began with, None where it began with no such."""
    files = None if config.start is None else start_files(config.start.source, default_home())
    return Measured.of_bundle(files.network.parent) if files is not None and files.by_modality else None


def _leaving_out(without: Collection[str], config: TrainingConfig) -> TrainingConfig:
    """The config without images that are not to be predicted."""
    keys = {DENSE[name] for name in without}
    return replace(config, modalities=tuple(modality for modality in config.modalities if modality.key not in keys))


def _checked(config: TrainingConfig) -> ContrastConfig:
    if config.contrast is None or set(config.contrast.targets) != set(GALLERY):
        raise TrainingConfigInvalid(f"a bundle needs a run with contrast of {' and '.join(GALLERY)}")
    known = [*(row.key for row in INPUTS.values()), *(DENSE[name] for name in dense_targets(config))]
    if odd := [m.key for m in config.modalities if m.input and m.key not in known]:
        raise TrainingConfigInvalid(f"bundled networks take {', '.join(known)}; the run's network takes {odd[0]}")
    return config.contrast


def _write_weights(config: TrainingConfig, contrast: ContrastConfig, run: RunFolder, bundle: Path, to: Path) -> Classes:
    """Everything but constants and manifest; the names of labels."""
    whole = load_fourm(run.model)
    network = without_targets(whole, set(whole.config.domains_out) - {modality.key for modality in config.modalities})
    network, vocabulary = trimmed(network, run.vocabulary.read_text(encoding="utf-8"))
    save_checkpoint(network, to / NETWORK, torch.int8, rows_of_use(network, vocabulary))
    (to / VOCABULARY).write_text(vocabulary, encoding="utf-8")
    for modality in config.modalities:
        if modality.key in contrast.targets and modality.tokenizer is not None:
            save_checkpoint(load_vqvae(modality.tokenizer), to / f"{modality.key}.safetensors", torch.int8)
    shortcuts = load_shortcuts(run.shortcuts).renamed({row.key: modality for modality, row in INPUTS.items()})
    save_file(quantized(shortcuts.state_dict()), to / SHORTCUTS)
    if (bundle / PROJECTION).resolve() != (to / PROJECTION).resolve():
        shutil.copyfile(bundle / PROJECTION, to / PROJECTION)
    return write_decoders(config, network.config, to)


def _write_manifest(to: Path, measured: Measured, fusion: Fusion, classes: Classes) -> None:
    files = sorted(path.name for path in to.iterdir() if path.name != MANIFEST)
    manifest = {
        "name": to.name,
        "licence": LICENCE,
        "files": {name: file_digest(to / name) for name in files},
        "default_spaces": measured.default_spaces,
        "gallery": GALLERY,
        CLASSES: classes,
        "fusion": fusion,
    }
    manifest["fingerprint"] = fingerprint(manifest)
    write_file(to / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def batch_source(config: TrainingConfig, bundle: Path, split: Split) -> BatchSource:
    """The batches of a split, with the vocabulary and the tokenizers of vectors from the folder `bundle`.

    Raises what reading these and the data sets raises.
    """
    text = TextTokenizer.from_file(bundle / VOCABULARY) if config.text is not None else None
    vectors = [modality.key for modality in config.modalities if modality.kind is FieldKind.VECTOR]
    shapes = {key: load_vqvae(bundle / f"{key}.safetensors").config for key in vectors}
    plan = make_plan(config, text, shapes)
    return BatchSource(plan, config.mixture, open_split(config.data, split), config.data.window, _AT_ONCE, config.seed)
