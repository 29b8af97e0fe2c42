"""A loaded network with its codecs, and the encoding of samples as a batch for it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Generic, TypeVar

import torch
from torch import Tensor

from model.errors import UnsupportedModality
from model.fourm.codecs import DirectDecoder, EncoderStates, Form, TargetForm, Tokenizers
from model.fourm.specialists import Read, Specialists
from model.modalities.registry import MODALITIES
from model.modalities.values import check_value
from model.network.config import ModalityConfig
from model.network.tokens import ModalityInput
from model.network.transformer import FourM
from model.seam import Sample
from model.towers.space import Seen

_Form = TypeVar("_Form", Form, TargetForm)
_T = TypeVar("_T")


class Once(Generic[_T]):
    """The result of `make`, computed once by the first thread that asks for it."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make, self._made = make, list[_T]()
        self._lock = threading.Lock()

    def __call__(self) -> _T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


@dataclass(frozen=True)
class FourMParts:
    """One network and its codecs.

    `inputs` and `targets` are by modality, in the order in which the network sees the inputs. `specialists` are the
    encoders that some forms of `inputs` name. `larger` loads the network for super-resolution. With `gives_values` a
    prediction enters the next target as the value that a user would give, otherwise as its tokens. `direct` decodes
    images for which the network need not be asked.
    """

    name: str
    network: FourM
    inputs: Mapping[str, Form]
    targets: Mapping[str, TargetForm]
    tokenizers: Tokenizers
    specialists: Specialists | None = None
    larger: "Callable[[], FourMParts] | None" = None
    gives_values: bool = False
    direct: DirectDecoder | None = None

    def input_form(self, modality: str) -> Form:
        """How the network takes a modality. Raises `UnsupportedModality` naming those it does."""
        return _found(self.inputs, modality, f"the model {self.name} does not take {modality}; it takes")

    def target_form(self, modality: str) -> TargetForm:
        """How the network predicts a modality. Raises `UnsupportedModality` naming those it does."""
        return _found(self.targets, modality, f"the model {self.name} does not predict {modality}; it predicts")


@dataclass(frozen=True)
class Encoded:
    """A batch of B samples.

    `inputs` are the network's inputs by checkpoint key. `own` float32 (B, d) holds, by modality, the specialist
    encoders' unit vectors, `seen` what towers take of pictures; both are zero where a sample lacks the modality.
    """

    inputs: dict[str, ModalityInput]
    own: dict[str, Tensor]
    seen: dict[str, Seen] = field(default_factory=dict)

    def at(self, rows: Tensor) -> "Encoded":
        """Its rows int64 (b,), without what none of them has."""
        used = {key: given for key, given in self.inputs.items() if not given.mask[rows].all()}
        inputs = {key: ModalityInput(given.values[rows], given.mask[rows]) for key, given in used.items()}
        own = {name: vectors[rows] for name, vectors in self.own.items()}
        return Encoded(inputs, own, {name: seen.at(rows) for name, seen in self.seen.items()})


@torch.no_grad()
def encode_samples(parts: FourMParts, samples: Sequence[Sample]) -> Encoded:
    """Samples as a batch by checkpoint key, on the network's device and of its dtype.

    A modality that a sample lacks is masked there. A tokenizer encodes every value on its own, because it chooses the
    nearest code and in a batch a near tie may fall the other way. Raises `UnsupportedModality`, `FormatInvalid`, and
    what loading a tokenizer or the vocabulary raises.
    """
    given = {name for sample in samples for name in sample.values}
    forms = {name: parts.input_form(name) for name in given}
    for sample in samples:
        for name, value in sample.values.items():
            check_value(MODALITIES[name], value)
    forms = {name: forms[name] for name in parts.inputs if name in given}
    readers = {name: form.specialist for name, form in forms.items() if form.specialist is not None}
    read = parts.specialists.read(samples, readers) if parts.specialists is not None and readers else {}
    inputs = {form.key: _encoded(parts, form, name, samples, read.get(name, {})) for name, form in forms.items()}
    own = {name: _own(found, len(samples)) for name, found in read.items()}
    return Encoded(inputs, own, {name: seen for name, found in read.items() if (seen := _seen(found, len(samples)))})


def _encoded(
    parts: FourMParts, form: Form, name: str, samples: Sequence[Sample], read: Mapping[int, Read]
) -> ModalityInput:
    """One modality of all samples."""
    row = parts.network.config.row(form.key)
    entries: list[Tensor | None] = [None] * len(samples)
    for place, sample in enumerate(samples):
        if name in sample.values:
            if isinstance(form.codec, EncoderStates):
                entries[place] = form.codec.encode_read(read[place])
            else:
                entries[place] = form.codec.encode(parts.tokenizers, row, sample.values[name])
    return _batch(entries, row, parts.network.mask_token)


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


def _own(read: Mapping[int, Read], count: int) -> Tensor:
    """The vectors of the whole as rows float32 (count, d)."""
    first = next(iter(read.values())).own
    vectors = first.new_zeros(count, len(first))
    for place, found in read.items():
        vectors[place] = found.own
    return vectors


def _seen(read: Mapping[int, Read], count: int) -> Seen | None:
    """What towers take of a modality as rows, None where there are no towers or they take nothing of it."""
    rows = {place: found.seen for place, found in read.items() if found.seen is not None}
    if not rows:
        return None
    places = torch.tensor(list(rows))

    def spread(name: str) -> Tensor:
        known = torch.cat([getattr(found, name) for found in rows.values()])
        return known.new_zeros(count, *known.shape[1:]).index_copy(0, places, known)

    return Seen(*(spread(part.name) for part in fields(Seen)))


def _found(forms: Mapping[str, _Form], modality: str, refusal: str) -> _Form:
    if modality not in forms:
        raise UnsupportedModality(f"{refusal} {', '.join(forms)}")
    return forms[modality]
