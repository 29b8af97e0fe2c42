"""What a bundle needs from the tokenizers of the image tokens it predicts: decoders, and names of labels."""

from pathlib import Path

import torch

from anyseek.model.checkpoints.files import load_tokenizer, save_checkpoint
from anyseek.model.data.contents import decode_value
from anyseek.model.data.samples import Split
from anyseek.model.fourm.bundled.images import file_of, token_difference
from anyseek.model.fourm.bundled.layout import DENSE
from anyseek.model.modalities import coco
from anyseek.model.network.config import ConfigInvalid, FourMConfig
from anyseek.model.seam import Regions
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_vqvae import ImageDecoder, ImageVQVAE
from anyseek.model.tokenizers.inputs import input_kind
from anyseek.model.training.pretraining.config import TrainingConfig
from anyseek.model.training.run.config import DataConfig
from anyseek.model.training.run.data_sets import entries_of, open_split
from anyseek.model.training.run.errors import TrainingConfigInvalid

Classes = dict[str, dict[int, str]]  # by modality the name of each label


def dense_targets(config: TrainingConfig) -> dict[str, Path]:
    """The tokenizers of a run's image-token targets, by modality.

    Raises `TrainingConfigInvalid` for a target without one.
    """
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
    """Write the decoders of what a run's network predicts as int8, and remove others; the names of their labels.

    Raises `TrainingConfigInvalid` for a tokenizer of other tokens, and what reading it and the data sets raises.
    """
    classes = {}
    targets = dense_targets(config)
    for name, path in targets.items():
        tokenizer = _checked(name, path, network)
        save_checkpoint(ImageDecoder(tokenizer), to / file_of(name), torch.int8)
        if tokenizer.config.n_labels is not None:
            classes[name] = label_names(name, tokenizer.config, config.data)
    for name in DENSE.keys() - targets.keys():
        (to / file_of(name)).unlink(missing_ok=True)
    return classes


def _checked(name: str, path: Path, network: FourMConfig) -> ImageVQVAE:
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


def label_names(field: str, tokenizer: TokenizerConfig, data: DataConfig) -> dict[int, str]:
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
