"""A loaded network with its codecs, and encoding of samples as its input batches."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from anyseek.model.compute.placement import moved
from anyseek.model.errors import UnsupportedModality
from anyseek.model.fourm.bundled.images import DenseImageDecoder
from anyseek.model.fourm.codecs import InputForm, TargetForm, Tokenizers
from anyseek.model.fourm.specialists import SpecialistOutput, Specialists
from anyseek.model.generation.run import UnconditionalCache
from anyseek.model.network.config import ModalityConfig
from anyseek.model.network.packing import pack_head
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import FourM
from anyseek.model.seam import Sample
from anyseek.model.towers.space import TowerInput


@dataclass(frozen=True)
class FourMParts:
    """One network and its codecs.

    `inputs` and `targets` are by modality, in the order in which the network sees the inputs. `specialists` are the
    encoders that forms of `inputs` refer to. `load_upscaler` loads the network for super-resolution. With
    `feeds_values` later targets see a prediction as a value, otherwise as tokens. `dense_images` decodes images without
    a pass of the network. `packed`: the network's weights are packed (`anyseek.model.network.packing`).
    `unconditional` caches the unconditional logits of guidance.
    """

    name: str
    network: FourM
    inputs: Mapping[str, InputForm]
    targets: Mapping[str, TargetForm]
    tokenizers: Tokenizers
    specialists: Specialists | None = None
    load_upscaler: "Callable[[], FourMParts] | None" = None
    feeds_values: bool = False
    dense_images: DenseImageDecoder | None = None
    packed: bool = False
    unconditional: UnconditionalCache = field(init=False, repr=False, compare=False, default_factory=UnconditionalCache)
    _lock: threading.Lock = field(init=False, repr=False, compare=False, default_factory=threading.Lock)

    def prepare_head(self, key: str) -> None:
        """Pack the logits layer of target `key`; called before each prediction of that target."""
        if self.packed:
            with self._lock:
                pack_head(self.network, key)

    def input_form(self, modality: str) -> InputForm:
        """The form in which the network takes a modality. Raises `UnsupportedModality` listing those it takes."""
        if modality not in self.inputs:
            known = ", ".join(self.inputs)
            raise UnsupportedModality(f"the model {self.name} does not take {modality}; it takes {known}")
        return self.inputs[modality]

    def target_form(self, modality: str) -> TargetForm:
        """The form in which the network predicts a modality. Raises `UnsupportedModality` listing those it predicts."""
        if modality not in self.targets:
            known = ", ".join(self.targets)
            raise UnsupportedModality(f"the model {self.name} does not predict {modality}; it predicts {known}")
        return self.targets[modality]


@dataclass(frozen=True)
class EncodedBatch:
    """A batch of B samples.

    `inputs` are the network's inputs by checkpoint key. `own_vectors` float32 (B, d) are the specialist encoders'
    unit vectors by modality, `tower_inputs` the towers' inputs by modality; both are zero for samples without it.
    `encoded_modalities` holds, for each row, the modalities that a specialist encoded.
    """

    inputs: dict[str, ModalityInput]
    own_vectors: dict[str, Tensor]
    tower_inputs: dict[str, TowerInput] = field(default_factory=dict)
    encoded_modalities: tuple[frozenset[str], ...] = ()

    def to(self, device: torch.device) -> "EncodedBatch":
        """The batch with its network inputs on `device`."""
        inputs = {
            key: ModalityInput(moved(given.values, device), moved(given.mask, device))
            for key, given in self.inputs.items()
        }
        return replace(self, inputs=inputs)

    def select(self, rows: Tensor) -> "EncodedBatch":
        """The rows int64 (b,), without inputs that are masked in all of them."""
        if torch.equal(rows, torch.arange(len(next(iter(self.inputs.values())).mask))):
            return self
        used = {key: given for key, given in self.inputs.items() if not given.mask[rows].all()}
        inputs = {key: ModalityInput(given.values[rows], given.mask[rows]) for key, given in used.items()}
        own_vectors = {name: vectors[rows] for name, vectors in self.own_vectors.items()}
        tower_inputs = {name: entry.select(rows) for name, entry in self.tower_inputs.items()}
        modalities = tuple(self.encoded_modalities[row] for row in rows.tolist())
        return EncodedBatch(inputs, own_vectors, tower_inputs, modalities)


@torch.no_grad()
def encode_samples(parts: FourMParts, samples: Sequence[Sample]) -> EncodedBatch:
    """Encode samples as a batch by checkpoint key, in the network's dtype, to be moved to its device by the caller.

    A modality that a sample lacks is masked. A tokenizer encodes every value on its own, because in a batch rounding
    may decide a near tie between codes differently. Raises `UnsupportedModality`, `FormatInvalid`, and what loading a
    tokenizer or the vocabulary raises.
    """
    given = {name for sample in samples for name in sample.values}
    forms = {name: parts.input_form(name) for name in given}
    forms = {name: forms[name] for name in parts.inputs if name in given}
    by_specialist = {name: form.specialist for name, form in forms.items() if form.specialist is not None}
    outputs = parts.specialists.encode(samples, by_specialist) if parts.specialists and by_specialist else {}
    inputs = {
        form.key: _encode_modality(parts, form, name, samples, outputs.get(name, {})) for name, form in forms.items()
    }
    own_vectors = {
        name: _scatter_rows({index: output.own_vector[None] for index, output in rows.items()}, len(samples))
        for name, rows in outputs.items()
    }
    tower_inputs = {name: entry for name, rows in outputs.items() if (entry := _tower_input(rows, len(samples)))}
    modalities = tuple(frozenset(sample.values.keys() & outputs.keys()) for sample in samples)
    return EncodedBatch(inputs, own_vectors, tower_inputs, modalities)


def _encode_modality(
    parts: FourMParts, form: InputForm, name: str, samples: Sequence[Sample], outputs: Mapping[int, SpecialistOutput]
) -> ModalityInput:
    """One modality of all samples; `outputs` are the specialist's by sample index."""
    row, like = parts.network.config.row(form.key), parts.network.mask_token
    indices = [index for index, sample in enumerate(samples) if name in sample.values]
    codec = form.codec
    if codec is None:
        entries = [outputs[index].states for index in indices]
    else:
        entries = [codec.encode(parts.tokenizers, row, samples[index].values[name]) for index in indices]
    return _pad_batch(dict(zip(indices, entries, strict=True)), len(samples), row, like)


def _pad_batch(entries: Mapping[int, Tensor], count: int, row: ModalityConfig, like: Tensor) -> ModalityInput:
    """Batch the entries of one modality, given by row index; shorter sequences are padded on the right.

    Values have the dtype of `like`; masks are on the CPU.
    """
    first = next(iter(entries.values()))
    longest = max(len(entry) for entry in entries.values())
    dtype = like.dtype if first.is_floating_point() else first.dtype
    values = torch.zeros((count, longest, *first.shape[1:]), dtype=dtype, device=first.device)
    mask = torch.ones(count, row.tokens if row.is_image else longest, dtype=torch.bool)
    for index, entry in entries.items():
        values[index, : len(entry)] = entry
        mask[index, : row.tokens if row.is_image else len(entry)] = False
    return ModalityInput(values, mask)


def _scatter_rows(entries: Mapping[int, Tensor], count: int) -> Tensor:
    """Entries (1, …) by row index as rows (count, …), zero elsewhere."""
    known = torch.cat(list(entries.values()))
    indices = torch.tensor(list(entries), device=known.device)
    return known.new_zeros(count, *known.shape[1:]).index_copy(0, indices, known)


def _tower_input(outputs: Mapping[int, SpecialistOutput], count: int) -> TowerInput | None:
    """The towers' input for a modality, None if there are no towers or they do not use it."""
    rows = {index: output.tower_input for index, output in outputs.items() if output.tower_input is not None}
    if not rows:
        return None
    parts = ({index: getattr(row, part.name) for index, row in rows.items()} for part in fields(TowerInput))
    return TowerInput(*(_scatter_rows(part, count) for part in parts))
