"""A 4M model, bundled or published: one loaded network that embeds samples and predicts any modality from any other.

To embed a sample, the network predicts the codes of a global target, and decoding them gives the vector. A model with a
residual adds a linear map of the inputs' own vectors, so the network only has to predict the remainder. Embedding
involves no random numbers and no centring; the means for centring are constants of a space.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anyseek.model.compute.placement import batch_size_on
from anyseek.model.compute.threads import SHARING
from anyseek.model.fourm.inputs import EncodedBatch, FourMParts, encode_samples
from anyseek.model.fourm.prediction import decode_directly, decode_samples, is_valid_value
from anyseek.model.fourm.spaces import Embedding
from anyseek.model.image_attributes import ImageAttribute
from anyseek.model.lazy import Lazy
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.registry import MODALITIES
from anyseek.model.modalities.values import check_value
from anyseek.model.network.tokens import limit_grid_tokens
from anyseek.model.seam import (
    EmbeddingSpace,
    FloatArray,
    Fusion,
    Prediction,
    PredictionInvalid,
    PredictOptions,
    Sample,
    Value,
    check_taken,
    set_options,
)
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.towers.captions import Captioner
from anyseek.model.towers.space import CAPTION, PHOTO


class FourMModel:
    """Thread-safe implementation of `CodeEmbedder` and `Predictor` (`anyseek.model.seam`), `NamingEmbedder` and
    `AttributeEmbedder` (`anyseek.model.image_attributes`), which describe its members.

    `modalities` are those that it can embed. `embedding` makes its spaces and options; it is called once, on first use,
    because the tokenizers of the spaces are not needed earlier. `vectors` are the spaces that it predicts by embedding,
    in one step, rather than by tokens. `captioner` estimates the certainty of captions of pictures.
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
        self._vector_targets, self._embedding = tuple(vectors), Lazy(embedding)

    @property
    def name(self) -> str:
        return self.parts.name

    @property
    def device(self) -> torch.device:
        """The device of its network, tokenizers and encoders."""
        return self.parts.network.mask_token.device

    @property
    def embedding(self) -> Embedding:
        """Its spaces and embedding options. Raises `WeightsMissing` if no space has its tokenizer."""
        return self._embedding()

    @property
    def fingerprint(self) -> str:
        return self.embedding.fingerprint

    @property
    def spaces(self) -> Mapping[str, EmbeddingSpace]:
        return self.embedding.embedding_spaces

    @property
    def fusion(self) -> Fusion:
        return self.embedding.fusion

    def default_space(self, modality: str) -> str:
        check_taken(self, [modality])
        return self.embedding.default_spaces[modality]

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        return self._embed(samples, spaces)

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed_gallery`: the encoder's own vector of a picture if the space's gallery is exact."""
        return self._embed(samples, spaces, gallery=True)

    @property
    def code_spaces(self) -> frozenset[str]:
        spaces = self.embedding.spaces
        return frozenset(name for name, space in spaces.items() if isinstance(space.tokenizer, VQVAE))

    @SHARING.model_pass()
    def code_probabilities(self, samples: Sequence[Sample], space: str) -> FloatArray:
        self._check_samples(samples)
        target, network = self.embedding.spaces[space], self.parts.network
        config = cast(VQVAE, target.tokenizer).config
        probabilities = np.zeros((len(samples), config.num_codebooks, config.codebook_size), np.float32)
        for rows, batch in self._iter_batches(samples):
            with torch.inference_mode():
                logits = network.decode_global(network.encode(batch.inputs), [target.key])[target.key]
            probabilities[rows.numpy()] = logits.float().softmax(dim=-1).cpu().numpy()
        return probabilities

    @SHARING.model_pass()
    def codes_of(self, vectors: FloatArray, space: str) -> npt.NDArray[np.int64]:
        tokenizer = cast(VQVAE, self.embedding.spaces[space].tokenizer)
        with torch.inference_mode():
            codes = tokenizer.encode(torch.tensor(vectors, device=self.device))
            return cast(npt.NDArray[np.int64], codes.cpu().numpy())

    @property
    def naming_spaces(self) -> frozenset[str]:
        towers = self.embedding.towers_space
        return frozenset() if towers is None or self._captioner is None else frozenset({towers.space.name})

    @SHARING.model_pass()
    def names(self, vectors: FloatArray, space: str, most: int) -> list[tuple[str, ...]]:
        """See `NamingEmbedder.names`. Raises `KeyError` for a space without names."""
        if self._captioner is None or space not in self.naming_spaces:
            raise KeyError(space)
        return self._captioner.names(torch.tensor(vectors, device=self.device), most)

    @SHARING.model_pass()
    def image_attributes(self, picture: Value) -> Mapping[str, ImageAttribute]:
        """See `AttributeEmbedder.image_attributes`; empty without a captioner."""
        return {} if self._captioner is None else self._captioner.attributes(picture)

    def text_note(self, text: str) -> str | None:
        """See `ReadingEmbedder.text_note`."""
        if self.parts.specialists is None or self.parts.specialists.reads(text):
            return None
        return (
            f"{self.name} reads English alone; for words in other languages run `anyseek models pull languages` where "
            "it runs, and start it again"
        )

    @SHARING.model_pass()
    def predict(
        self, samples: Sequence[Mapping[str, Value]], targets: Sequence[str], options: PredictOptions
    ) -> list[dict[str, Prediction]]:
        """See `Predictor.predict`. Its own vectors are predicted in one step; other targets as `options` say."""
        self._check_options(targets, options)
        if not self.parts.feeds_values:
            return decode_samples(self.parts, samples, targets, options)
        known, predictions = [dict(values) for values in samples], [dict[str, Prediction]() for _ in samples]
        for name in targets:
            for index, prediction in enumerate(self._predict_target(samples, known, name, options)):
                predictions[index][name] = prediction
                if name in self.modalities and is_valid_value(name, prediction.value):
                    known[index][name] = prediction.value
        return predictions

    def _check_options(self, targets: Sequence[str], options: PredictOptions) -> None:
        """Refuse options other than `seed` and `progress` for vectors, which are predicted in one step."""
        defaults = PredictOptions()
        changed = replace(options, seed=defaults.seed, progress=None) != defaults
        if (changed and all(name in self._vector_targets for name in targets)) or any(
            name in self._vector_targets for name in options.targets
        ):
            raise PredictionInvalid(f"the model {self.name} predicts vectors in one step and has no options for them")
        if options.super_resolution and self.parts.load_upscaler is None:
            raise PredictionInvalid(f"the model {self.name} cannot make larger pictures; leave out super-resolution")

    def _predict_target(
        self,
        samples: Sequence[Mapping[str, Value]],
        known: Sequence[Mapping[str, Value]],
        name: str,
        options: PredictOptions,
    ) -> list[Prediction]:
        """Predict one target for all samples; `known` are their values and earlier predictions."""
        if name in self._vector_targets:
            return [Prediction(name, row) for row in self.embed(list(map(Sample, known)), [name])[name]]
        direct_predictions = [decode_directly(self.parts, values, name, options) for values in samples]
        remaining = [values for values, direct in zip(known, direct_predictions, strict=True) if direct is None]
        decoded = iter(decode_samples(self.parts, remaining, [name], options))
        predictions = [next(decoded)[name] if direct is None else direct for direct in direct_predictions]
        if name != CAPTION or self._captioner is None:
            return predictions
        keep_text = bool(set_options(options.of_target(name)))  # the caller chose how its words are sampled
        with_certainty = self._captioner.with_certainty
        return [
            with_certainty(caption, values[PHOTO], keep_text) if PHOTO in values else caption
            for caption, values in zip(predictions, samples, strict=True)
        ]

    @SHARING.model_pass()
    def _embed(self, samples: Sequence[Sample], spaces: Sequence[str], gallery: bool = False) -> dict[str, FloatArray]:
        embedding = self.embedding
        dimensions = {space: embedding.embedding_spaces[space].dimension for space in spaces}
        result = {space: np.zeros((len(samples), dimensions[space]), np.float32) for space in spaces}
        self._check_samples(samples)
        predicted = list(spaces)
        if embedding.colours is not None and embedding.colours.space.name in spaces:
            predicted.remove(embedding.colours.space.name)
            result[embedding.colours.space.name] = embedding.colours.vectors(samples, gallery)
        # Vectors stay on the device until all batches are queued: fetching a batch would wait for it.
        batches: list[tuple[Tensor, dict[str, Tensor]]] = []
        for rows, batch in self._iter_batches(samples if predicted else ()):
            with torch.inference_mode():
                batches.append((rows, self._forward(batch, predicted, gallery)))
        for space in predicted if batches else ():
            indices = torch.cat([rows for rows, _ in batches]).numpy()
            result[space][indices] = torch.cat([vectors[space] for _, vectors in batches]).cpu().numpy()
        return result

    def _iter_batches(self, samples: Sequence[Sample]) -> Iterator[tuple[Tensor, EncodedBatch]]:
        """Yield sample indices int64 (b,) with these samples as a batch on the network's device."""
        size, order = batch_size_on(self.device), _order_by_length(samples)
        window = max(self.embedding.window, size)
        for start in range(0, len(samples), window):
            indices = order[start : start + window]
            encoded = self._encode([samples[index] for index in indices])
            for rows, batch in _split_batch(encoded, window, size):
                yield torch.from_numpy(indices)[rows], batch.to(self.device)

    def _check_samples(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            check_taken(self, sample.values)
            if not sample.values:
                raise FormatInvalid(f"the model {self.name} was given a sample without any modality")
            for name, value in sample.values.items():
                check_value(MODALITIES[name], value)

    def _encode(self, samples: Sequence[Sample]) -> EncodedBatch:
        encoded, budget = encode_samples(self.parts, samples), self.embedding.token_budget
        if budget is None:
            return encoded
        return replace(encoded, inputs=limit_grid_tokens(encoded.inputs, self.parts.network.config, budget))

    def _forward(self, batch: EncodedBatch, spaces: Sequence[str], gallery: bool) -> dict[str, Tensor]:
        """Unit vectors of a batch, in the network's spaces and in the towers' one."""
        towers = self.embedding.towers_space
        if towers is None or towers.space.name not in spaces:
            return self._predict_vectors(batch, spaces, gallery)
        predicted, sentences = [space for space in spaces if space != towers.space.name], towers.sentence_space
        if any(towers.lacks_inputs(batch)) and sentences not in predicted:
            predicted.append(sentences)
        vectors = self._predict_vectors(batch, predicted, gallery)
        return vectors | {towers.space.name: towers.vectors(batch, vectors.get(sentences), gallery)}

    def _predict_vectors(self, batch: EncodedBatch, spaces: Sequence[str], gallery: bool) -> dict[str, Tensor]:
        """Unit vectors (B, d) that the network predicts, residuals included.

        Exact gallery vectors are not predicted. Targets do not see each other; targets with the same grid share a pass
        of the decoder, so that small targets do not pay for large ones.
        """
        embedding, network = self.embedding, self.parts.network
        vectors = embedding.exact_gallery_vectors(batch, spaces) if gallery else {}
        missing = [space for space in spaces if space not in vectors]
        if not missing:
            return vectors
        context, targets = network.encode(batch.inputs), {space: embedding.spaces[space] for space in missing}
        for grid in dict.fromkeys(targets[space].grid for space in missing):
            group = [space for space in missing if targets[space].grid == grid]
            logits = network.decode_global(context, [targets[space].key for space in group])
            for space in group:
                rows = targets[space].vectors(logits[targets[space].key], embedding.decoding)
                vectors[space] = embedding.add_residual(rows, batch.own_vectors, space, gallery)
        return vectors


def _order_by_length(samples: Sequence[Sample]) -> npt.NDArray[np.int64]:
    """Sample indices (n,) sorted by text length, because a batch is as long as its longest text."""
    lengths = [sum(len(value) for value in sample.values.values() if isinstance(value, str)) for sample in samples]
    return np.argsort(np.array(lengths, np.int64), kind="stable")


def _split_batch(encoded: EncodedBatch, window: int, size: int) -> Iterator[tuple[Tensor, EncodedBatch]]:
    """Yield rows int64 (b,) and their batch, at most `size` each; sorted by length if the window is larger."""
    lengths = torch.stack([(~given.mask).sum(dim=1) for given in encoded.inputs.values()]).sum(dim=0)
    order = lengths.argsort(stable=True) if window > size else torch.arange(len(lengths))
    for rows in torch.split(order, size):
        yield rows, encoded.select(rows)
