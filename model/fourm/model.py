"""A 4M model, bundled or published: one loaded network that embeds samples and predicts any modality from any other.

To embed a sample, the network predicts the codes of a global target, and decoding them gives the vector. Where a model
has a residual, it adds a contribution from the inputs' own vectors, so the network only has to predict what these miss.
Embedding involves no random draws and no centring; means to centre by are constants of a space.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.errors import UnsupportedModality
from model.fourm.inputs import Encoded, FourMParts, Once, encode_samples
from model.fourm.prediction import decode_directly, decode_targets, is_value
from model.fourm.spaces import Embedding
from model.modalities.formats.spans import FormatInvalid
from model.modalities.registry import MODALITIES
from model.modalities.values import check_value
from model.network.token_budget import within_budget
from model.seam import (
    Decoding,
    EmbeddingSpace,
    FloatArray,
    Fusion,
    Prediction,
    PredictionInvalid,
    PredictOptions,
    Sample,
    Value,
    set_options,
)
from model.tokenizers.vqvae import VQVAE
from model.towers.captions import Captioner
from model.towers.space import CAPTION, PHOTO
from model.vector_prediction import check_vector_options, predict_vector

_BATCH = 16  # samples that the network sees together


class FourMModel:
    """Implements `model.seam.CodeEmbedder` and `model.seam.Predictor`; safe for several threads.

    `modalities` are those that it can embed. `embedding` returns how it embeds. It is called once, on first use,
    because the tokenizers of the spaces are not needed earlier. `vectors` are the spaces that it predicts by embedding,
    in one step, rather than by tokens. `captioner` tells how sure captions of pictures are.
    """

    def __init__(
        self,
        parts: FourMParts,
        modalities: frozenset[str],
        embedding: Callable[[], Embedding],
        vectors: Sequence[str] = (),
        captioner: Captioner | None = None,
    ) -> None:
        self.parts, self.modalities = parts, modalities
        self._captioner = captioner
        self.targets = (*parts.targets, *vectors)
        self._vectors, self._embedding = tuple(vectors), Once(embedding)
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """See `Embedder.name`."""
        return self.parts.name

    @property
    def embedding(self) -> Embedding:
        """How it embeds. Raises `WeightsMissing` where nothing that a space needs is installed."""
        return self._embedding()

    @property
    def fingerprint(self) -> str:
        """See `Embedder.fingerprint`. Raises as `embedding` does, as all that is about vectors."""
        return self.embedding.fingerprint

    @property
    def spaces(self) -> Mapping[str, EmbeddingSpace]:
        """See `Embedder.spaces`."""
        return self.embedding.about

    @property
    def fusion(self) -> Fusion:
        """See `Embedder.fusion`."""
        return self.embedding.fusion

    @property
    def decoding(self) -> Decoding:
        """See `CodeEmbedder.decoding`."""
        return self.embedding.decoding

    @property
    def exact_spaces(self) -> frozenset[str]:
        """See `CodeEmbedder.exact_spaces`."""
        return self.embedding.exact_spaces

    def default_space(self, modality: str) -> str:
        """See `Embedder.default_space`. Raises `UnsupportedModality`."""
        self._check_taken([modality])
        return self.embedding.default_spaces[modality]

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed`."""
        return self._embedded(samples, spaces, (self.decoding,))[self.decoding]

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed_gallery`: a picture's own vector where the space's gallery is exact."""
        return self._embedded(samples, spaces, (self.decoding,), gallery=True)[self.decoding]

    def embed_decoded(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[Decoding, dict[str, FloatArray]]:
        """See `CodeEmbedder.embed_decoded`."""
        return self._embedded(samples, spaces, tuple(Decoding))

    def through_codes(self, vectors: FloatArray, space: str) -> FloatArray:
        """See `CodeEmbedder.through_codes`."""
        tokenizer = cast(VQVAE, self.embedding.spaces[space].tokenizer)
        with torch.inference_mode():
            decoded = tokenizer.decode_tokens(tokenizer.encode(torch.from_numpy(vectors)))
            return cast(FloatArray, F.normalize(decoded, dim=1).numpy())

    def predict(
        self, values: Mapping[str, Value], targets: Sequence[str], options: PredictOptions
    ) -> dict[str, Prediction]:
        """See `Predictor.predict`. Its own vectors are predicted in one step; other targets as `options` say."""
        check_vector_options(self.name, self._vectors, targets, options)
        if options.super_resolution and self.parts.larger is None:
            raise PredictionInvalid(f"the model {self.name} cannot make larger pictures; leave out super-resolution")
        if not self.parts.gives_values:
            return decode_targets(self.parts, values, targets, options)
        known, found = dict(values), dict[str, Prediction]()
        for name in targets:
            if name in self._vectors:
                found[name] = predict_vector(self, known, name)
                continue
            drawn = decode_directly(self.parts, values, name, options)
            found |= {name: drawn} if drawn else decode_targets(self.parts, known, [name], options)
            if name == CAPTION and PHOTO in values and self._captioner is not None:
                chosen = bool(set_options(options.of_target(name)))  # how its words are drawn
                found[name] = self._captioner.told(found[name], values[PHOTO], as_it_is=chosen)
            if name in self.modalities and is_value(name, found[name].value):
                known[name] = found[name].value
        return found

    def _embedded(
        self, samples: Sequence[Sample], spaces: Sequence[str], decodings: Sequence[Decoding], gallery: bool = False
    ) -> dict[Decoding, dict[str, FloatArray]]:
        embedding = self.embedding
        widths = {space: embedding.about[space].dimension for space in spaces}
        found = {
            decoding: {space: np.zeros((len(samples), width), np.float32) for space, width in widths.items()}
            for decoding in decodings
        }
        self._check_samples(samples)
        seen = list(spaces)
        if embedding.colours is not None and embedding.colours.about.name in spaces:
            seen.remove(embedding.colours.about.name)
            coloured = embedding.colours.vectors(samples, gallery)
            for rows_of in found.values():
                rows_of[embedding.colours.about.name] = coloured.copy()
        for start in range(0, len(samples) if seen else 0, embedding.window):
            encoded = self._encoded(samples[start : start + embedding.window])
            for rows, batch in _batches(encoded, embedding.window):
                with self._lock, torch.inference_mode():
                    vectors = self._forward(batch, seen, decodings, gallery)
                for decoding, space in product(decodings, seen):
                    found[decoding][space][start + rows.numpy()] = vectors[decoding, space].cpu().numpy()
        return found

    def _check_samples(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            self._check_taken(sample.values)
            if not sample.values:
                raise FormatInvalid(f"the model {self.name} was given a sample without any modality")
            for name, value in sample.values.items():
                check_value(MODALITIES[name], value)

    def _check_taken(self, modalities: Sequence[str] | Mapping[str, object]) -> None:
        for modality in modalities:
            if modality not in self.modalities:
                known = ", ".join(sorted(self.modalities))
                raise UnsupportedModality(f"the model {self.name} does not take {modality}; it takes {known}")

    def _encoded(self, samples: Sequence[Sample]) -> Encoded:
        encoded, budget = encode_samples(self.parts, samples), self.embedding.token_budget
        if budget is None:
            return encoded
        return replace(encoded, inputs=within_budget(encoded.inputs, self.parts.network.config, budget))

    def _forward(
        self, batch: Encoded, spaces: Sequence[str], decodings: Sequence[Decoding], gallery: bool
    ) -> dict[tuple[Decoding, str], Tensor]:
        """Unit vectors of a batch, in the network's spaces and in the joint one."""
        joint = self.embedding.joint
        if joint is None or joint.about.name not in spaces:
            return self._predicted(batch, spaces, decodings, gallery)
        others = [space for space in spaces if space != joint.about.name]
        told = [joint.told_by] if bool(joint.lacking(batch.own).any()) and joint.told_by not in others else []
        vectors = self._predicted(batch, [*others, *told], decodings, gallery)
        sentences = vectors.get((decodings[0], joint.told_by))
        found = joint.vectors(batch, sentences, gallery)
        return vectors | {(decoding, joint.about.name): found for decoding in decodings}

    def _predicted(
        self, batch: Encoded, spaces: Sequence[str], decodings: Sequence[Decoding], gallery: bool
    ) -> dict[tuple[Decoding, str], Tensor]:
        """Unit vectors that the network predicts: one encoder pass, and a decoder pass for targets with as many tokens.

        Targets do not see each other; decoded apart, few tokens are not weighed down by many.
        """
        network, embedding, vectors = self.parts.network, self.embedding, {}
        if not spaces:
            return {}
        context = network.encode(batch.inputs)
        for grid in dict.fromkeys(embedding.spaces[space].grid for space in spaces):
            alike = [space for space in spaces if embedding.spaces[space].grid == grid]
            logits = network.decode_global(context, [embedding.spaces[space].key for space in alike])
            for decoding, space in product(decodings, alike):
                vectors[decoding, space] = embedding.vectors(logits, batch.own, space, decoding, gallery)
        return vectors


def _batches(encoded: Encoded, window: int) -> Iterator[tuple[Tensor, Encoded]]:
    """Rows int64 (b,) and what they are: at most 16, of like length where there are more, else in their order."""
    lengths = torch.stack([(~given.mask).sum(dim=1) for given in encoded.inputs.values()]).sum(dim=0)
    order = lengths.argsort(stable=True) if window > _BATCH else torch.arange(len(lengths))
    for rows in torch.split(order, _BATCH):
        yield rows.cpu(), encoded.at(rows)
