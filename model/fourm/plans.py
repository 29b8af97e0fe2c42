"""The default decoding settings of 4M networks for each modality, as published.

Given a photo, most targets are nearly certain, and one step decodes them. From words or sketches they have to be
imagined, in many steps at a high temperature.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace

from anyseek.model.generation.schedule import Scheme, TargetPlan
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.network.config import EmbeddingKind, ModalityConfig
from anyseek.model.seam import PredictionInvalid, TargetOptions, set_options


@dataclass(frozen=True)
class Plan:
    """The fields of `anyseek.model.generation.schedule.TargetPlan` of that name, and the filters of its draws."""

    scheme: Scheme
    steps: int = 1
    token_schedule: str = "linear"
    temperature: float = 0.0
    temperature_schedule: str = "constant"
    guidance: float = 1.0
    top_p: float = 0.8
    top_k: int | float = 0

    def of_target(self, row: ModalityConfig, weights: tuple[float, ...] = ()) -> TargetPlan:
        """The plan of the target that `row` holds; `weights` of single inputs take the place of one guidance."""
        settings = asdict(self) | {"guidance": weights or self.guidance}
        del settings["top_p"], settings["top_k"]
        return TargetPlan(row.key, tokens=row.tokens if row.is_image else 0, **settings)


# of an image whose tokens the network does not take; without guidance, as it never learned what is likely where nothing
# is given
ALONE = Plan(Scheme.ROAR, temperature=0.01)
_SEEN = Plan(Scheme.ROAR, temperature=0.01, guidance=2.0)
_GLOBAL = Plan(Scheme.ROAR, temperature=0.1)
_IMAGINED = Plan(Scheme.MASKGIT, 8, "cosine", 3.0, "onex:0.5:0.5", guidance=2.0)
_IMAGINED_OTHERWISE = {
    "clip": Plan(Scheme.ROAR, 50, "linear", 5.0, "onex:0.5:0.5", guidance=3.0),
    "rgb": Plan(Scheme.MASKGIT, 25, "cosine", 3.0, "onex:0.5:0.5", guidance=2.0),
}
_TEMPERATURES = {"caption": 0.3, "bounding_boxes": 0.7, "sam_instance": 0.01}
_TEMPERATURE = 0.1

_OF_IMAGES = ("scheme", "steps", "token_schedule", "temperature_schedule")

SUPER_RESOLUTION = Plan(Scheme.MASKGIT, 8, "cosine", 1.0, guidance=2.0)


def default_plan(modality: str, row: ModalityConfig, given: Collection[str]) -> Plan:
    """How to decode a modality, held as `row` says, from the modalities that are given."""
    if row.kind is EmbeddingKind.SEQUENCE:
        return Plan(Scheme.AUTOREGRESSIVE, temperature=_TEMPERATURES.get(modality, _TEMPERATURE))
    if MODALITIES[modality].content is Content.VECTOR:
        return _GLOBAL
    if "rgb" in given:
        return _SEEN
    return _IMAGINED_OTHERWISE.get(modality, _IMAGINED)


def changed_plan(plan: Plan, options: TargetOptions, modality: str, row: ModalityConfig) -> Plan:
    """A plan with what the options say otherwise. Raises `PredictionInvalid`."""
    asked = set_options(options)
    if not row.is_image:
        # one set of options may serve several targets: options of images do not apply to this one
        asked = {name: value for name, value in asked.items() if name not in _OF_IMAGES}
    elif asked.get("steps", 1) > row.tokens:
        raise PredictionInvalid(
            f"{modality} has {row.tokens} tokens and takes 1 to {row.tokens} steps, not {asked['steps']}"
        )
    if "scheme" in asked:
        asked["scheme"] = Scheme(asked["scheme"])
    return replace(plan, **asked)
