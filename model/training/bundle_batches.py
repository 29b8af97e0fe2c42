"""Batches of a run's data sets as the bundle made of the run sees them."""

from pathlib import Path

from model.bundle import VOCABULARY
from model.checkpoints import load_vqvae
from model.data.samples import Split
from model.tokenizers.text import TextTokenizer
from model.training.pretraining.batches import BatchSource
from model.training.pretraining.config import FieldKind, TrainingConfig
from model.training.pretraining.data_sets import open_split
from model.training.pretraining.plan import make_plan

_AT_ONCE = 32


def batch_source(config: TrainingConfig, bundle: Path, split: Split) -> BatchSource:
    """Those of a split, in the vocabulary and with the tokenizers of vectors in the folder `bundle`.

    Raises what reading these and the data sets raises.
    """
    text = TextTokenizer.from_file(bundle / VOCABULARY) if config.text is not None else None
    vectors = [modality.key for modality in config.modalities if modality.kind is FieldKind.VECTOR]
    shapes = {key: load_vqvae(bundle / f"{key}.safetensors").config for key in vectors}
    plan = make_plan(config, text, shapes)
    return BatchSource(plan, config.mixture, open_split(config.data, split), config.data.window, _AT_ONCE, config.seed)
