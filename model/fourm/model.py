"""A 4M model, bundled or published: one loaded network that embeds samples and predicts any modality from any other.

To embed a sample, the network predicts the codes of a global target, and decoding them gives the vector. Where a model
has a residual, it adds a contribution from the inputs' own vectors, so the network only has to predict what these miss.
Embedding involves no random draws and no centring; means to centre by are constants of a space.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anyseek.model.compute.placement import batch_on
from anyseek.model.compute.threads import SHARING
from anyseek.model.fourm.inputs import Encoded, FourMParts, encode_samples
from anyseek.model.fourm.prediction import decode_directly, decode_samples, is_value
from anyseek.model.fourm.spaces import Embedding
from anyseek.model.image_attributes import Told
from anyseek.model.lazy import Lazy
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.registry import MODALITIES
from anyseek.model.modalities.values import check_value
from anyseek.model.network.tokens import within_budget
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
    """Implements `CodeEmbedder` and `Predictor` of `anyseek.model.seam`, `NamingEmbedder` and `TellingEmbedder` of
    `anyseek.model.image_attributes`, which describe its members. It is safe for several threads.

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
        self._vectors, self._embedding = tuple(vectors), Lazy(embedding)

    @property
    def name(self) -> str:
        return self.parts.name

    @property
    def device(self) -> torch.device:
        """The device of its network, tokenizers and encoders."""
        return self.parts.network.mask_token.device

    @property
    def embedding(self) -> Embedding:
        """Its spaces and options of embedding. Raises `WeightsMissing` where no space has what it needs."""
        return self._embedding()

    @property
    def fingerprint(self) -> str:
        return self.embedding.fingerprint

    @property
    def spaces(self) -> Mapping[str, EmbeddingSpace]:
        return self.embedding.about

    @property
    def fusion(self) -> Fusion:
        return self.embedding.fusion

    def default_space(self, modality: str) -> str:
        check_taken(self, [modality])
        return self.embedding.default_spaces[modality]

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        return self._embedded(samples, spaces)

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed_gallery`: a picture's own vector where the space's gallery is exact."""
        return self._embedded(samples, spaces, gallery=True)

    @property
    def code_spaces(self) -> frozenset[str]:
        spaces = self.embedding.spaces
        return frozenset(name for name, space in spaces.items() if isinstance(space.tokenizer, VQVAE))

    @SHARING.a_pass()
    def code_probabilities(self, samples: Sequence[Sample], space: str) -> FloatArray:
        self._check_samples(samples)
        target, network = self.embedding.spaces[space], self.parts.network
        config = cast(VQVAE, target.tokenizer).config
        probabilities = np.zeros((len(samples), config.num_codebooks, config.codebook_size), np.float32)
        for rows, batch in self._batches(samples):
            with torch.inference_mode():
                logits = network.decode_global(network.encode(batch.inputs), [target.key])[target.key]
            probabilities[rows.numpy()] = logits.float().softmax(dim=-1).cpu().numpy()
        return probabilities

    @SHARING.a_pass()
    def codes_of(self, vectors: FloatArray, space: str) -> npt.NDArray[np.int64]:
        tokenizer = cast(VQVAE, self.embedding.spaces[space].tokenizer)
        with torch.inference_mode():
            codes = tokenizer.encode(torch.tensor(vectors, device=self.device))
            return cast(npt.NDArray[np.int64], codes.cpu().numpy())

    @property
    def naming_spaces(self) -> frozenset[str]:
        joint = self.embedding.joint
        return frozenset() if joint is None or self._captioner is None else frozenset({joint.about.name})

    @SHARING.a_pass()
    def names(self, vectors: FloatArray, space: str, most: int) -> list[tuple[str, ...]]:
        """See `NamingEmbedder.names`. Raises `KeyError` for a space without names."""
        if self._captioner is None or space not in self.naming_spaces:
            raise KeyError(space)
        return self._captioner.names(torch.tensor(vectors, device=self.device), most)

    @SHARING.a_pass()
    def tell(self, picture: Value) -> Mapping[str, Told]:
        """See `TellingEmbedder.tell`; nothing without a captioner."""
        return {} if self._captioner is None else self._captioner.tell(picture)

    @SHARING.a_pass()
    def predict(
        self, samples: Sequence[Mapping[str, Value]], targets: Sequence[str], options: PredictOptions
    ) -> list[dict[str, Prediction]]:
        """See `Predictor.predict`. Its own vectors are predicted in one step; other targets as `options` say."""
        self._check_options(targets, options)
        if not self.parts.gives_values:
            return decode_samples(self.parts, samples, targets, options)
        known, predictions = [dict(values) for values in samples], [dict[str, Prediction]() for _ in samples]
        for name in targets:
            for place, prediction in enumerate(self._predict_one(samples, known, name, options)):
                predictions[place][name] = prediction
                if name in self.modalities and is_value(name, prediction.value):
                    known[place][name] = prediction.value
        return predictions

    def _check_options(self, targets: Sequence[str], options: PredictOptions) -> None:
        """Refuse options of vectors, which are predicted in one step, but for `seed` and `progress`."""
        defaults = PredictOptions()
        changed = replace(options, seed=defaults.seed, progress=None) != defaults
        if (changed and all(name in self._vectors for name in targets)) or any(
            name in self._vectors for name in options.targets
        ):
            raise PredictionInvalid(f"the model {self.name} predicts vectors in one step and has no options for them")
        if options.super_resolution and self.parts.larger is None:
            raise PredictionInvalid(f"the model {self.name} cannot make larger pictures; leave out super-resolution")

    def _predict_one(
        self,
        samples: Sequence[Mapping[str, Value]],
        known: Sequence[Mapping[str, Value]],
        name: str,
        options: PredictOptions,
    ) -> list[Prediction]:
        """One target of all samples; `known` are their values together with what was predicted before."""
        if name in self._vectors:
            return [Prediction(name, row) for row in self.embed(list(map(Sample, known)), [name])[name]]
        directly = [decode_directly(self.parts, values, name, options) for values in samples]
        remaining = [values for values, direct in zip(known, directly, strict=True) if direct is None]
        decoded = iter(decode_samples(self.parts, remaining, [name], options))
        predictions = [next(decoded)[name] if direct is None else direct for direct in directly]
        if name != CAPTION or self._captioner is None:
            return predictions
        tell, chosen = self._captioner.told, bool(set_options(options.of_target(name)))  # how its words are drawn
        return [
            tell(caption, values[PHOTO], as_it_is=chosen) if PHOTO in values else caption
            for caption, values in zip(predictions, samples, strict=True)
        ]

    @SHARING.a_pass()
    def _embedded(
        self, samples: Sequence[Sample], spaces: Sequence[str], gallery: bool = False
    ) -> dict[str, FloatArray]:
        embedding = self.embedding
        result = {space: np.zeros((len(samples), embedding.about[space].dimension), np.float32) for space in spaces}
        self._check_samples(samples)
        predicted = list(spaces)
        if embedding.colours is not None and embedding.colours.about.name in spaces:
            predicted.remove(embedding.colours.about.name)
            result[embedding.colours.about.name] = embedding.colours.vectors(samples, gallery)
        # Vectors stay where they were made until all are there: to fetch one batch is to wait for it.
        batches: list[tuple[Tensor, dict[str, Tensor]]] = []
        for rows, batch in self._batches(samples if predicted else ()):
            with torch.inference_mode():
                batches.append((rows, self._forward(batch, predicted, gallery)))
        for space in predicted if batches else ():
            places = torch.cat([rows for rows, _ in batches]).numpy()
            result[space][places] = torch.cat([vectors[space] for _, vectors in batches]).cpu().numpy()
        return result

    def _batches(self, samples: Sequence[Sample]) -> Iterator[tuple[Tensor, Encoded]]:
        """Places int64 (b,) of samples, and these as a batch on the network's device."""
        most, order = batch_on(self.device), _by_length(samples)
        window = max(self.embedding.window, most)
        for start in range(0, len(samples), window):
            places = order[start : start + window]
            encoded = self._encoded([samples[place] for place in places])
            for rows, batch in _batches(encoded, window, most):
                yield torch.from_numpy(places)[rows], batch.on(self.device)

    def _check_samples(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            check_taken(self, sample.values)
            if not sample.values:
                raise FormatInvalid(f"the model {self.name} was given a sample without any modality")
            for name, value in sample.values.items():
                check_value(MODALITIES[name], value)

    def _encoded(self, samples: Sequence[Sample]) -> Encoded:
        encoded, budget = encode_samples(self.parts, samples), self.embedding.token_budget
        if budget is None:
            return encoded
        return replace(encoded, inputs=within_budget(encoded.inputs, self.parts.network.config, budget))

    def _forward(self, batch: Encoded, spaces: Sequence[str], gallery: bool) -> dict[str, Tensor]:
        """Unit vectors of a batch, in the network's spaces and in the joint one."""
        joint = self.embedding.joint
        if joint is None or joint.about.name not in spaces:
            return self._predicted(batch, spaces, gallery)
        others = [space for space in spaces if space != joint.about.name]
        needed = [joint.told_by] if any(joint.lacking(batch)) and joint.told_by not in others else []
        vectors = self._predicted(batch, [*others, *needed], gallery)
        return vectors | {joint.about.name: joint.vectors(batch, vectors.get(joint.told_by), gallery)}

    def _predicted(self, batch: Encoded, spaces: Sequence[str], gallery: bool) -> dict[str, Tensor]:
        """Unit vectors (B, d) that the network predicts, with what is added to them.

        What a gallery stores as it is need not be predicted. Targets do not see each other; those of as many tokens
        share a pass of the decoder, so that few tokens are not weighed down by many.
        """
        embedding, network = self.embedding, self.parts.network
        vectors = embedding.stored_as_they_are(batch, spaces) if gallery else {}
        missing = [space for space in spaces if space not in vectors]
        if not missing:
            return vectors
        context, targets = network.encode(batch.inputs), {space: embedding.spaces[space] for space in missing}
        for grid in dict.fromkeys(targets[space].grid for space in missing):
            alike = [space for space in missing if targets[space].grid == grid]
            logits = network.decode_global(context, [targets[space].key for space in alike])
            for space in alike:
                rows = targets[space].vectors(logits[targets[space].key], embedding.decoding)
                vectors[space] = embedding.completed(rows, batch.own, space, gallery)
        return vectors


def _by_length(samples: Sequence[Sample]) -> npt.NDArray[np.int64]:
    """Places of samples (n,), those with texts of like length side by side: a batch is as long as its longest text."""
    lengths = [sum(len(value) for value in sample.values.values() if isinstance(value, str)) for sample in samples]
    return np.argsort(np.array(lengths, np.int64), kind="stable")


def _batches(encoded: Encoded, window: int, most: int) -> Iterator[tuple[Tensor, Encoded]]:
    """Rows int64 (b,) and what they are: at most `most`, of like length where there are more, else in their order."""
    lengths = torch.stack([(~given.mask).sum(dim=1) for given in encoded.inputs.values()]).sum(dim=0)
    order = lengths.argsort(stable=True) if window > most else torch.arange(len(lengths))
    for rows in torch.split(order, most):
        yield rows, encoded.at(rows)
