"""The two interfaces of models: an Embedder makes unit vectors of samples, a Predictor other modalities of values.

`anyseek.model.registry.loading` knows all implementations; this module knows none of them and does not import
torch.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from anyseek.model.errors import RequestInvalid, UnsupportedModality
from anyseek.model.modalities.formats.boxes import LabelledBox
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.sam_instances import QueryPoint
from anyseek.model.modalities.formats.spans import TextStates

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Regions:
    """A segmentation map: `ids` integer (H, W), `classes` names of ids where they are known."""

    ids: npt.NDArray[np.integer]
    classes: Mapping[int, str] = field(default_factory=dict)


# What one modality of a sample holds; `anyseek.model.modalities.registry.Content` says which for each.
Value = (
    str
    | npt.NDArray[np.generic]
    | Regions
    | tuple[LabelledBox, ...]
    | Metadata
    | tuple[HumanPose, ...]
    | tuple[QueryPoint, ...]
    | TextStates
)


@dataclass(frozen=True)
class Sample:
    """Aligned modalities of one thing, decoded: canonical modality name -> value."""

    values: Mapping[str, Value]


@dataclass(frozen=True)
class RelevanceCurve:
    """The probability that a hit is right, as a logistic function of its two features: `offset` + `weights` · features.

    If the best hit of an answer has a probability below `nothing_good`, nothing good was found.
    """

    offset: float
    weights: tuple[float, float]
    nothing_good: float


@dataclass(frozen=True)
class EmbeddingSpace:
    """A space that vectors of one dimension and one origin share. The score in it is the cosine, higher is better.

    `gallery_prior` float32 (dimension,) is the mean a gallery has until it is large enough to have its own;
    `query_means` float32 (k, dimension) are the means of query vectors by modality, one for each kind of thing that the
    model was measured on. Both are constants of the space, zero where centring does not help.

    `blocks` are the widths of the parts of a vector that are centred separately, so that a score is the sum of theirs
    with the same weights in every collection. They add up to `dimension`; empty means a single part.

    `modalities` are those that the space tells apart, None if they are all of the model's. A space may have been added
    to a model whose collections lack it; queries are then answered in the space `instead`.

    `shares` say how much a part of a query counts beside one of another modality where vectors are added by weight:
    `shares["depth"]["caption"]` that of a caption beside depth, 1 where nothing is said.

    Known for some modalities of queries: `typical_queries` float32 (m, d), a varied set of centred ones, with which an
    item's scores are compared, and the `relevance` of hits.
    """

    name: str
    dimension: int
    fingerprint: str
    gallery_prior: FloatArray
    query_means: Mapping[str, FloatArray] = field(default_factory=dict)
    blocks: tuple[int, ...] = ()
    modalities: frozenset[str] | None = None
    instead: str | None = None
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    typical_queries: Mapping[str, FloatArray] = field(default_factory=dict)
    relevance: Mapping[str, RelevanceCurve] = field(default_factory=dict)

    def knows(self, modality: str) -> bool:
        """Whether values of `modality` that differ have different vectors in this space."""
        return self.modalities is None or modality in self.modalities

    def share(self, modality: str | None, others: Iterable[str | None]) -> float:
        """The weight of a part of `modality` beside parts of `others`; None is an item or a vector."""
        return min((self.shares.get(other or "", {}).get(modality or "", 1.0) for other in others), default=1.0)


class Fusion(StrEnum):
    """The way in which the parts of a query become one vector, or one ranking."""

    JOINT = "joint"  # all parts in one encoder pass
    LATE = "late"  # a vector a part, added by weight
    RANKS = "ranks"  # a ranking a space or part, added by rank and by how far items stand out


ONE_VECTOR = (Fusion.JOINT, Fusion.LATE)  # what a model may do with parts by default


class Decoding(StrEnum):
    """How the predicted probabilities of codes become a vector."""

    SOFT = "soft"  # every code counts by its probability
    HARD = "hard"  # the most probable code alone


class Embedder(Protocol):
    """Samples in, unit vectors out; the same sample always gives the same vector, alone or in a batch."""

    @property
    def name(self) -> str:
        """Its name for `--model`, such as `4m-tiny` or `hashing`."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 over weights, preprocessing version and constants of spaces; a space without weights has its own."""
        ...

    @property
    def spaces(self) -> Mapping[str, EmbeddingSpace]: ...

    @property
    def modalities(self) -> frozenset[str]:
        """Canonical names of the modalities it takes."""
        ...

    @property
    def fusion(self) -> Fusion:
        """The fusion that suits queries of several parts best, as measured by `anyseek eval`."""
        ...

    def default_space(self, modality: str) -> str:
        """The space that suits queries of `modality` best, as measured by `anyseek eval`."""
        ...

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """Predict the global embedding of each sample in every one of `spaces` in one model pass.

        A sample with several modalities is encoded jointly. Returns float32 arrays of shape (len(samples), d)
        with rows of length 1. These are *raw* vectors: centring happens in `search`.

        Raises `UnsupportedModality` if a sample has a modality outside `modalities`, `KeyError` for an unknown space;
        4M networks raise `FormatInvalid` for a value that is not what its modality holds.
        """
        ...

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """Vectors to store for items: exact ones where the space's own extractor applies, else those of `embed`."""
        ...


def check_taken(model: Embedder, given: Iterable[str]) -> None:
    """Raises `UnsupportedModality` for modalities of which the model does not take one."""
    for modality in given:
        if modality not in model.modalities:
            known = ", ".join(sorted(model.modalities))
            raise UnsupportedModality(f"the model {model.name} does not take {modality}; it takes {known}")


@runtime_checkable
class CodeEmbedder(Embedder, Protocol):
    """An embedder that predicts codes of a tokenizer."""

    @property
    def code_spaces(self) -> frozenset[str]:
        """The spaces whose vectors are predicted as codes of a tokenizer of vectors."""
        ...

    def code_probabilities(self, samples: Sequence[Sample], space: str) -> FloatArray:
        """The probability of each code at each place of samples' vectors in one of `code_spaces`: float32 (n, h, K).

        Takes one model pass. What a model adds to the decoded vector from the inputs' own vectors is not in it. Raises
        as `embed`.
        """
        ...

    def codes_of(self, vectors: FloatArray, space: str) -> npt.NDArray[np.int64]:
        """The codes nearest to unit vectors (n, d) of one of `code_spaces`: (n, h)."""
        ...


# Called with what is being done ("depth", "picture of depth"), the number of finished steps and of all steps.
Progress = Callable[[str, int, int], None]

MAX_DECODING_STEPS = 1000
MAX_POINTS = 32


class PredictionInvalid(RequestInvalid):
    """Inputs, targets and options that do not belong together."""

    code = "prediction-invalid"


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """Options for decoding a target; for what is None, `anyseek.model.fourm.prediction` has the modality's default.

    - `scheme`: `roar` or `maskgit`. Sequences are always decoded token by token; `steps` and schedules are not theirs.
    - `steps`: in how many steps its tokens are decoded, 1 to the number of its tokens. More steps take longer and let
      tokens agree with each other.
    - `token_schedule`: `linear`, or `cosine` for `maskgit`.
    - `temperature`: 0 (the likeliest token) and up; 1 is the network's own doubt.
    - `temperature_schedule`: `constant`, `linear` or `onex:<min>:<power>`, from `temperature` down.
    - `guidance`: how far to follow the inputs: 0 not at all, 1 as trained, up to about 10 closer. Anything but 1 takes
      two passes a step instead of one.
    - `top_p`: draw from the likeliest tokens that together have this probability, 0 to 1; 0 is off.
    - `top_k`: draw from this many of the likeliest tokens, or from this share of the vocabulary where it is a float
      from 0.0 to 1.0; 0 is off.

    Raises `PredictionInvalid`.
    """

    scheme: Literal["roar", "maskgit"] | None = None
    steps: int | None = None
    token_schedule: Literal["linear", "cosine"] | None = None
    temperature: float | None = None
    temperature_schedule: str | None = None
    guidance: float | None = None
    top_p: float | None = None
    top_k: int | float | None = None

    def __post_init__(self) -> None:
        _require("scheme", "roar or maskgit", self.scheme, lambda value: value in ("roar", "maskgit"))
        _require("steps", "a whole number from 1", self.steps, lambda value: isinstance(value, int) and value >= 1)
        _require("token_schedule", "linear or cosine", self.token_schedule, lambda value: value in ("linear", "cosine"))
        _require("temperature", "a number from 0", self.temperature, lambda value: 0 <= value < math.inf)
        _require("guidance", "a finite number", self.guidance, math.isfinite)
        _require("top_p", "a number from 0 to 1", self.top_p, lambda value: 0 <= value <= 1)
        share = "a whole number from 0 or a share from 0.0 to 1.0"
        _require("top_k", share, self.top_k, lambda value: 0 <= value <= (1 if isinstance(value, float) else math.inf))


@dataclass(frozen=True, kw_only=True)
class PredictOptions(TargetOptions):
    """Options of a prediction. The options of a target hold for all targets but those in `targets`.

    - `targets`: by modality, options of single targets that go before those of all.
    - `seed`: the same seed gives the same result on the same kind of device; None draws anew each time.
    - `weights`: by modality, how far to follow single inputs, instead of one `guidance`: finite numbers, negative ones
      lead away. An input without weight is followed as it is. A pass a step for each, and one more.
    - `decoding_steps`: steps of the diffusion that turns tokens into pictures, depth, normals and edges, 1 to 1000.
    - `diffusion`: `ddpm` (draws noise at each step) or `ddim` (does not); None is the tokenizer's own.
    - `super_resolution`: go from 224 to 448 pixels with a second network, where it predicts a target.
    - `points`: of `sam_instance`, ask at each of points x points places of the picture, 1 to 32; 0 lets the network
      choose its points. Later targets see only as many answers as the network was trained with.
    - `progress`: called in the thread that predicts.

    Raises `PredictionInvalid`.
    """

    targets: Mapping[str, TargetOptions] = field(default_factory=dict)
    seed: int | None = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    decoding_steps: int = 25
    diffusion: Literal["ddpm", "ddim"] | None = None
    super_resolution: bool = False
    points: int = 0
    progress: Progress | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        steps, points = range(1, MAX_DECODING_STEPS + 1), range(MAX_POINTS + 1)
        _require("decoding_steps", f"a whole number from 1 to {steps[-1]}", self.decoding_steps, steps.__contains__)
        _require("points", f"a whole number from 0 to {points[-1]}", self.points, points.__contains__)
        _require("diffusion", "ddpm or ddim", self.diffusion, lambda value: value in ("ddpm", "ddim"))
        _require("seed", "a whole number from 0", self.seed, lambda value: isinstance(value, int) and value >= 0)
        for weight in self.weights.values():
            _require("a weight", "a finite number", weight, math.isfinite)
        if self.weights and any(options.guidance is not None for options in (self, *self.targets.values())):
            raise PredictionInvalid(
                "guidance applies to all inputs together, weights to single inputs; give only one of the two"
            )

    def of_target(self, modality: str) -> TargetOptions:
        """The options of one target: its own, and those of all targets where it has none."""
        own = set_options(self.targets.get(modality, TargetOptions()))
        return TargetOptions(**(set_options(self) | own))


@dataclass(frozen=True)
class Guess:
    """Words that may fit a picture, and how likely they do, 0 to 1."""

    text: str
    probability: float


@dataclass(frozen=True)
class Certainty:
    """The certainty of a predicted caption.

    `confidence`, 0 to 1, is how likely it fits the picture it was predicted from, and `sure` whether the model stands
    by it. `guesses` are what else the picture may show, the likeliest first.
    """

    confidence: float
    sure: bool
    guesses: tuple[Guess, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """One predicted modality.

    `value` is of the kind that `anyseek.model.modalities.registry.Content` says; a text may have no words and a palette
    no colours, where a network predicted none. `tokens` int64 are those that the network predicted: (h, w) of an image
    or a map, (n,) of a vector or a sequence; None where it decodes without choosing any. `arrays` are what codes inside
    the value stand for: `rotations` float32 (people, 23, 3, 3) of `human_pose`, `masks` bool (n, 64, 64) of
    `sam_instance`, one for each mask of its points in their order. `certainty` is None where the model has no measure
    of it: bundled ones have one of captions that were predicted from a picture.
    """

    modality: str
    value: Value
    tokens: npt.NDArray[np.int64] | None = None
    arrays: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    certainty: Certainty | None = None


class Predictor(Protocol):
    """Values in, values of other modalities out. `model.predict.predict` is the way in, which checks what is given."""

    @property
    def name(self) -> str:
        """Its name for `--model`."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """Canonical names of the modalities that it predicts."""
        ...

    def predict(
        self, samples: Sequence[Mapping[str, Value]], targets: Sequence[str], options: PredictOptions
    ) -> list[dict[str, Prediction]]:
        """Predict `targets` one after the other, each from a sample's values and the targets before it.

        Gives what each sample gives alone, up to rounding: its targets by name, in their order. All names are
        canonical; every target is one of `self.targets`. Raises `UnsupportedModality` for an input that
        the model does not take, `PredictionInvalid` for options that it does not have.
        """
        ...


class Model(Embedder, Predictor, Protocol):
    """A loaded model: one object that embeds and predicts."""


def set_options(options: TargetOptions) -> dict[str, Any]:
    """The options of a target that are not None, by name."""
    values = {option.name: getattr(options, option.name) for option in fields(TargetOptions)}
    return {name: value for name, value in values.items() if value is not None}


def _require(name: str, words: str, value: Any, holds: Callable[[Any], bool]) -> None:
    if value is not None and not holds(value):
        raise PredictionInvalid(f"{name} is {words}, not {value!r}")
