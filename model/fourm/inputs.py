"""A loaded network with its codecs, and the encoding of samples as a batch for it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from anyseek.model.compute.placement import moved
from anyseek.model.errors import UnsupportedModality
from anyseek.model.fourm.bundled.images import SeenImages
from anyseek.model.fourm.codecs import Form, TargetForm, Tokenizers
from anyseek.model.fourm.specialists import Read, Specialists
from anyseek.model.generation.run import UnconditionalCache
from anyseek.model.network.config import ModalityConfig
from anyseek.model.network.packing import pack_head
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import FourM
from anyseek.model.seam import Sample
from anyseek.model.towers.space import Seen


@dataclass(frozen=True)
class FourMParts:
    """One network and its codecs.

    `inputs` and `targets` are by modality, in the order in which the network sees the inputs. `specialists` are the
    encoders that some forms of `inputs` name. `larger` loads the network for super-resolution. With `gives_values` a
    prediction enters the next target as the value that a user would give, otherwise as its tokens. `direct` decodes
    images for which the network need not be asked. `packed` says that the network's weights are
    (`anyseek.model.network.packing`). `unconditional` keeps what guidance computes once for all.
    """

    name: str
    network: FourM
    inputs: Mapping[str, Form]
    targets: Mapping[str, TargetForm]
    tokenizers: Tokenizers
    specialists: Specialists | None = None
    larger: "Callable[[], FourMParts] | None" = None
    gives_values: bool = False
    direct: SeenImages | None = None
    packed: bool = False
    unconditional: UnconditionalCache = field(init=False, repr=False, compare=False, default_factory=UnconditionalCache)
    _lock: threading.Lock = field(init=False, repr=False, compare=False, default_factory=threading.Lock)

    def ready(self, key: str) -> None:
        """Pack what gives the logits of the target `key`, before it is first predicted."""
        if self.packed:
            with self._lock:
                pack_head(self.network, key)

    def input_form(self, modality: str) -> Form:
        """The form in which the network takes a modality. Raises `UnsupportedModality` naming those it does."""
        if modality not in self.inputs:
            known = ", ".join(self.inputs)
            raise UnsupportedModality(f"the model {self.name} does not take {modality}; it takes {known}")
        return self.inputs[modality]

    def target_form(self, modality: str) -> TargetForm:
        """The form in which the network predicts a modality. Raises `UnsupportedModality` naming those it does."""
        if modality not in self.targets:
            known = ", ".join(self.targets)
            raise UnsupportedModality(f"the model {self.name} does not predict {modality}; it predicts {known}")
        return self.targets[modality]


@dataclass(frozen=True)
class Encoded:
    """A batch of B samples.

    `inputs` are the network's inputs by checkpoint key. `own` float32 (B, d) holds, by modality, the specialist
    encoders' unit vectors, `seen` what towers take of pictures; both are zero where a sample lacks the modality.

    `read` are, by row, the modalities that encoders have read.
    """

    inputs: dict[str, ModalityInput]
    own: dict[str, Tensor]
    seen: dict[str, Seen] = field(default_factory=dict)
    read: tuple[frozenset[str], ...] = ()

    def on(self, device: torch.device) -> "Encoded":
        """The same with all inputs on the network's device."""
        inputs = {
            key: ModalityInput(moved(given.values, device), moved(given.mask, device))
            for key, given in self.inputs.items()
        }
        return replace(self, inputs=inputs)

    def at(self, rows: Tensor) -> "Encoded":
        """Its rows int64 (b,), without what none of them has."""
        if torch.equal(rows, torch.arange(len(next(iter(self.inputs.values())).mask))):
            return self
        used = {key: given for key, given in self.inputs.items() if not given.mask[rows].all()}
        inputs = {key: ModalityInput(given.values[rows], given.mask[rows]) for key, given in used.items()}
        own = {name: vectors[rows] for name, vectors in self.own.items()}
        seen = {name: found.at(rows) for name, found in self.seen.items()}
        return Encoded(inputs, own, seen, tuple(self.read[row] for row in rows.tolist()))


@torch.no_grad()
def encode_samples(parts: FourMParts, samples: Sequence[Sample]) -> Encoded:
    """Samples as a batch by checkpoint key, of the network's dtype and ready to be moved to its device.

    A modality that a sample lacks is masked there. A tokenizer encodes every value on its own, because it chooses the
    nearest code and in a batch a near tie may fall the other way. Raises `UnsupportedModality`, `FormatInvalid`, and
    what loading a tokenizer or the vocabulary raises.
    """
    given = {name for sample in samples for name in sample.values}
    forms = {name: parts.input_form(name) for name in given}
    forms = {name: forms[name] for name in parts.inputs if name in given}
    readers = {name: form.specialist for name, form in forms.items() if form.specialist is not None}
    read = parts.specialists.read(samples, readers) if parts.specialists is not None and readers else {}
    inputs = {form.key: _encoded(parts, form, name, samples, read.get(name, {})) for name, form in forms.items()}
    own = {
        name: _rows({place: output.own[None] for place, output in outputs.items()}, len(samples))
        for name, outputs in read.items()
    }
    seen = {name: rows for name, outputs in read.items() if (rows := _seen(outputs, len(samples)))}
    return Encoded(inputs, own, seen, tuple(frozenset(sample.values.keys() & read.keys()) for sample in samples))


def _encoded(
    parts: FourMParts, form: Form, name: str, samples: Sequence[Sample], read: Mapping[int, Read]
) -> ModalityInput:
    """One modality of all samples."""
    row, like = parts.network.config.row(form.key), parts.network.mask_token
    places = [place for place, sample in enumerate(samples) if name in sample.values]
    codec = form.codec
    if codec is None:
        entries = [read[place].states for place in places]
    else:
        entries = [codec.encode(parts.tokenizers, row, samples[place].values[name]) for place in places]
    return _batch(dict(zip(places, entries, strict=True)), len(samples), row, like)


def _batch(entries: Mapping[int, Tensor], count: int, row: ModalityConfig, like: Tensor) -> ModalityInput:
    """The entries of one modality by place, shorter sequences padded on the right.

    Values have the dtype of `like`; masks are on the CPU.
    """
    first = next(iter(entries.values()))
    longest = max(len(entry) for entry in entries.values())
    dtype = like.dtype if first.is_floating_point() else first.dtype
    values = torch.zeros((count, longest, *first.shape[1:]), dtype=dtype, device=first.device)
    mask = torch.ones(count, row.tokens if row.is_image else longest, dtype=torch.bool)
    for place, entry in entries.items():
        values[place, : len(entry)] = entry
        mask[place, : row.tokens if row.is_image else len(entry)] = False
    return ModalityInput(values, mask)


def _rows(entries: Mapping[int, Tensor], count: int) -> Tensor:
    """Entries (1, …) by place as rows (count, …), zero elsewhere."""
    known = torch.cat(list(entries.values()))
    places = torch.tensor(list(entries), device=known.device)
    return known.new_zeros(count, *known.shape[1:]).index_copy(0, places, known)


def _seen(read: Mapping[int, Read], count: int) -> Seen | None:
    """The towers' input of a modality as rows, None where there are no towers or they do not use it."""
    rows = {place: found.seen for place, found in read.items() if found.seen is not None}
    if not rows:
        return None
    parts = ({place: getattr(found, part.name) for place, found in rows.items()} for part in fields(Seen))
    return Seen(*(_rows(part, count) for part in parts))
