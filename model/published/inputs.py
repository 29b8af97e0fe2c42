"""From samples to a batch of what a published network takes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.config import ModalityConfig
from model.embedder import Sample
from model.modality import MODALITIES
from model.published.modalities import FORMS, Form, input_form
from model.published.model import PublishedModel
from model.tokens import ModalityInput
from model.values import check_value


@torch.no_grad()
def network_inputs(model: PublishedModel, samples: Sequence[Sample]) -> dict[str, ModalityInput]:
    """A batch of B samples by checkpoint key, on the network's device and of its dtype.

    A modality that a sample lacks is masked there. Every value is encoded on its own, because a tokenizer chooses the
    nearest code and in a batch a near tie may fall the other way. Raises `UnsupportedModality`, `FormatInvalid`, and
    what loading a tokenizer or the vocabulary raises.
    """
    given = {name for sample in samples for name in sample.values}
    forms = {name: input_form(model.network.config, name, model.name) for name in given}
    return {forms[name].key: _encoded(model, forms[name], name, samples) for name in FORMS if name in given}


def _encoded(model: PublishedModel, form: Form, name: str, samples: Sequence[Sample]) -> ModalityInput:
    """One modality of all samples."""
    row = model.network.config.row(form.key)
    entries: list[Tensor | None] = [None] * len(samples)
    for place, sample in enumerate(samples):
        if name in sample.values:
            check_value(MODALITIES[name], sample.values[name])
            entries[place] = form.codec.encode(model, row, sample.values[name])
    return _batch(entries, row, model.network.mask_token)


def _batch(entries: Sequence[Tensor | None], row: ModalityConfig, like: Tensor) -> ModalityInput:
    """The entries of one modality, shorter sequences padded on the right; on the device and of the dtype of `like`."""
    present = [entry for entry in entries if entry is not None]
    longest = max(len(entry) for entry in present)
    values = present[0].new_zeros(len(entries), longest, *present[0].shape[1:])
    mask = torch.ones(len(entries), row.tokens if row.is_image else longest, dtype=torch.bool)
    for place, entry in enumerate(entries):
        if entry is not None:
            values[place, : len(entry)] = entry
            mask[place, : row.tokens if row.is_image else len(entry)] = False
    dtype = like.dtype if values.is_floating_point() else values.dtype
    return ModalityInput(values.to(like.device, dtype), mask.to(like.device))
