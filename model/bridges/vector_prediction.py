"""Predicting the vectors of an embedder's spaces: the same for every embedder, in one step. Imports no torch."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.seam import Embedder, EmbeddingSpace, Prediction, PredictionInvalid, PredictOptions, Sample, Value


class PredictsVectors:
    """Makes an embedder a predictor of the vectors of those of its spaces that are modalities; in one step."""

    @property
    def targets(self: Embedder) -> tuple[str, ...]:
        """See `Predictor.targets`."""
        return vector_targets(self.spaces)

    def predict(
        self: Embedder, samples: Sequence[Mapping[str, Value]], targets: Sequence[str], options: PredictOptions
    ) -> list[dict[str, Prediction]]:
        """See `Predictor.predict`. Raises `PredictionInvalid` for any option but `seed` and `progress`."""
        check_vector_options(self.name, targets, targets, options)
        found = {name: predict_vectors(self, samples, name) for name in targets}
        return [{name: found[name][place] for name in targets} for place in range(len(samples))]


def vector_targets(spaces: Mapping[str, EmbeddingSpace]) -> tuple[str, ...]:
    """The spaces that are modalities."""
    vectors = [name for name, modality in MODALITIES.items() if modality.content is Content.VECTOR]
    return tuple(name for name in vectors if name in spaces)


def predict_vectors(embedder: Embedder, samples: Sequence[Mapping[str, Value]], name: str) -> list[Prediction]:
    """The vectors of samples in the space `name`."""
    vectors = embedder.embed([Sample(values) for values in samples], [name])[name]
    return [Prediction(name, vector) for vector in vectors]


def check_vector_options(model: str, vectors: Collection[str], targets: Sequence[str], options: PredictOptions) -> None:
    """Refuse options where all `targets` are `vectors`, which are predicted in one step, and options of these vectors.

    `seed` and `progress` are no matter. Raises `PredictionInvalid`.
    """
    nothing = PredictOptions()
    given = replace(options, seed=nothing.seed, progress=None) != nothing
    if (given and all(name in vectors for name in targets)) or any(name in vectors for name in options.targets):
        raise PredictionInvalid(f"the model {model} predicts vectors in one step and has no options for them")
