"""A published 4M network as an `Embedder`: any combination of its inputs to vectors of its global spaces.

Vectors are the network's predictions, decoded without sampling; nothing is centred, as that takes constants measured
on data (`anyseek eval`).
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.embedder import (
    Decoding,
    Embedder,
    EmbeddingSpace,
    FloatArray,
    Fusion,
    Sample,
    UnsupportedModality,
    WeightsMissing,
)
from model.packing import pack
from model.published.embedder_options import EmbedderOptions, parse_name
from model.published.global_spaces import GlobalSpace, global_spaces, tokenizers_of_spaces
from model.published.inputs import network_inputs
from model.published.modalities import inputs_of
from model.published.model import PublishedModel, load_published
from model.published.names import VOCABULARY
from model.published.store import State, installed, state_of
from model.token_budget import within_budget
from model.tokens import ModalityInput

_VERSION = "1"  # of preprocessing and decoding, part of the fingerprint: raise it whenever a vector changes
_AT_ONCE = 64  # samples whose inputs are made together
_BATCH = 16  # samples that the network sees together, of like length

# The authors of 4M-21 retrieve in the DINOv2 space, whatever the query; a map or vector is best compared with its like.
_PREFERRED = "dinov2_global"
_OWN_SPACES = {"clip": "clip", "imagebind": "imagebind_global", "imagebind_global": "imagebind_global"}


class PublishedEmbedder:
    """Implements `model.embedder.CodeEmbedder`; safe to use from several threads.

    `modalities` are those that a tokenizer is installed for. The weights of `model` are packed for prediction.
    """

    fusion = Fusion.LATE  # not measured, as its training data is not at hand

    def __init__(
        self,
        name: str,
        model: PublishedModel,
        options: EmbedderOptions,
        spaces: Mapping[str, GlobalSpace],
        modalities: frozenset[str],
        fingerprints: Mapping[str, str],
    ) -> None:
        self.name, self.modalities = name, modalities
        self.fingerprint = _digest(*fingerprints.values())
        self.spaces: Mapping[str, EmbeddingSpace] = {
            space: EmbeddingSpace(space, of.dimension, fingerprints[space], np.zeros(of.dimension, np.float32))
            for space, of in spaces.items()
        }
        self.decoding = options.decoding
        self._model, self._options, self._global_spaces = model, options, spaces
        self._lock = threading.Lock()
        pack(model.network, tuple(space.key for space in spaces.values()))

    def default_space(self, modality: str) -> str:
        """`dinov2_global`, or that of the same features for `clip`, `imagebind` and `imagebind_global`.

        Where it is not among `spaces` the first that is. Raises `UnsupportedModality`.
        """
        self._check([modality])
        own = _OWN_SPACES.get(modality, _PREFERRED)
        return own if own in self.spaces else next(iter(self.spaces))

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed`. Raises `FormatInvalid` for a value that the model's format of it has no place for."""
        return self._embedded(samples, spaces, (self.decoding,))[self.decoding]

    def embed_decoded(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[Decoding, dict[str, FloatArray]]:
        """See `CodeEmbedder.embed_decoded`."""
        return self._embedded(samples, spaces, tuple(Decoding))

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """The vectors of `embed`: the networks that the spaces come from are not part of 4M."""
        return self.embed(samples, spaces)

    def _embedded(
        self, samples: Sequence[Sample], spaces: Sequence[str], decodings: Sequence[Decoding]
    ) -> dict[Decoding, dict[str, FloatArray]]:
        width = {space: self.spaces[space].dimension for space in spaces}
        found = {
            decoding: {space: np.zeros((len(samples), width[space]), np.float32) for space in spaces}
            for decoding in decodings
        }
        for sample in samples:
            self._check(sample.values)
            if not sample.values:
                raise UnsupportedModality(f"a sample without any modality; the model {self.name} takes one or more")
        for start in range(0, len(samples) if spaces else 0, _AT_ONCE):
            inputs = self._inputs(samples[start : start + _AT_ONCE])
            for rows, batch in _batches(inputs):
                with self._lock, torch.inference_mode():
                    vectors = self._forward(batch, spaces, decodings)
                for decoding, space in product(decodings, spaces):
                    found[decoding][space][start + rows.numpy()] = vectors[decoding, space].cpu().numpy()
        return found

    def _check(self, given: Sequence[str] | Mapping[str, object]) -> None:
        for modality in given:
            if modality not in self.modalities:
                known = ", ".join(sorted(self.modalities))
                raise UnsupportedModality(f"the model {self.name} does not take {modality}; it takes {known}")

    def _inputs(self, samples: Sequence[Sample]) -> dict[str, ModalityInput]:
        inputs = network_inputs(self._model, samples)
        budget = self._options.token_budget
        return inputs if budget is None else within_budget(inputs, self._model.network.config, budget)

    def _forward(
        self, inputs: Mapping[str, ModalityInput], spaces: Sequence[str], decodings: Sequence[Decoding]
    ) -> dict[tuple[Decoding, str], Tensor]:
        """Unit vectors of a batch: one encoder pass, and one decoder pass for targets with as many tokens.

        Targets do not see each other; decoded apart, few tokens are not weighed down by many.
        """
        network, vectors = self._model.network, {}
        context = network.encode(inputs)
        for grid in dict.fromkeys(self._global_spaces[space].grid for space in spaces):
            alike = [space for space in spaces if self._global_spaces[space].grid == grid]
            logits = network.decode_global(context, [self._global_spaces[space].key for space in alike])
            for decoding, space in product(decodings, alike):
                of = self._global_spaces[space]
                vectors[decoding, space] = of.vectors(logits[of.key], decoding)
        return vectors


def _batches(inputs: Mapping[str, ModalityInput]) -> Iterator[tuple[Tensor, dict[str, ModalityInput]]]:
    """Rows int64 (b,) and the inputs of these rows: at most 16 of like length, without what none of them has."""
    lengths = torch.stack([(~given.mask).sum(dim=1) for given in inputs.values()]).sum(dim=0)
    for rows in torch.split(lengths.argsort(stable=True), _BATCH):
        yield (
            rows.cpu(),
            {
                key: ModalityInput(given.values[rows], given.mask[rows])
                for key, given in inputs.items()
                if not given.mask[rows].all()
            },
        )


def load_published_embedder(name: str, home: Path) -> Embedder:
    """The embedder `name`, a published network's name and its options, as installed below `home`.

    Raises `UnknownModel`, `WeightsMissing`, also without the vocabulary or any tokenizer of a space, and what loading
    raises.
    """
    network, options = parse_name(name)
    model = load_published(network, home, getattr(torch, options.dtype))
    vocabulary = installed(VOCABULARY, home).fingerprint
    spaces = global_spaces(model, home)
    if not spaces:
        needed = ", ".join(tokenizers_of_spaces(model.network.config))
        raise WeightsMissing(f"{network} embeds with at least one of these; run `anyseek models pull NAME`: {needed}")
    fingerprints = {
        space: _digest(_VERSION, model.fingerprint_with([of.tokenizer_name]), vocabulary, *options.told())
        for space, of in spaces.items()
    }
    return PublishedEmbedder(name, model, options, spaces, _modalities(model, home), fingerprints)


def _modalities(model: PublishedModel, home: Path) -> frozenset[str]:
    """What the network takes, without what needs a tokenizer that is not installed."""
    taken = inputs_of(model.network.config)
    needed = {name: getattr(form.codec, "tokenizer", None) for name, form in taken.items()}
    return frozenset(name for name, one in needed.items() if one is None or state_of(one, home) is State.INSTALLED)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
