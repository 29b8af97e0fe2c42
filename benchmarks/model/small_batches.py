"""How long queries and small batches take, kernel by kernel, as CUDA graphs and with compiled blocks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from anyseek.model.errors import BadDevice
from anyseek.model.fourm.model import FourMModel
from anyseek.model.network.compiling import check_compiler, compile_blocks
from anyseek.model.seam import FloatArray, Sample
from anyseek.model.switches import Switches, switching

_BEFORE = 3  # runs of each shape that are not counted: in them blocks are compiled and the graph is captured


@dataclass(frozen=True)
class Way:
    """A way of computing by its name in the report."""

    name: str
    graphs: bool = False
    compiled: bool = False


WAYS = (
    Way("kernel_by_kernel"),
    Way("graphs", graphs=True),
    Way("compiled", compiled=True),
    Way("compiled_graphs", graphs=True, compiled=True),
)


def small_batches(
    make: Callable[[], FourMModel],
    batches: Mapping[str, Sequence[Sample]],
    space: str,
    seconds: Callable[[Callable[[], object]], float],
) -> dict[str, Any]:
    """By way the milliseconds of embedding each of `batches`, and the lowest cosine with the first way's vectors.

    `make` loads the same model each time, and `seconds` times a call. A way that this device does not have says why.
    On a CPU blocks are compiled by `aot_eager`, which shows that it works and nothing else.
    """
    found: dict[str, Any] = {}
    expected: dict[str, FloatArray] = {}
    for way in WAYS:
        try:
            embed = partial(_made(way, make).embed, spaces=[space])
        except BadDevice as error:
            found[way.name] = str(error)
            continue
        vectors = {name: _warmed_up(embed, samples)[space] for name, samples in batches.items()}
        expected = expected or vectors
        cosines = [(rows * expected[name]).sum(axis=1).min() for name, rows in vectors.items()]
        taken = {name: 1000 * seconds(partial(embed, samples)) for name, samples in batches.items()}
        found[way.name] = {"lowest_cosine": float(min(cosines)), **taken}
    return found


def _warmed_up(embed: Callable[..., dict[str, FloatArray]], samples: Sequence[Sample]) -> dict[str, FloatArray]:
    """The vectors of the last run of those that come before any that counts."""
    return [embed(samples) for _ in range(_BEFORE)][-1]


def _made(way: Way, make: Callable[[], FourMModel]) -> FourMModel:
    """The model that computes in this way. Raises `BadDevice`."""
    with switching(Switches(cuda_graphs=way.graphs)):
        model = make()
    on_card = model.device.type == "cuda"
    if way.graphs and not on_card:
        raise BadDevice("CUDA graphs need a card")
    if way.compiled:
        if on_card:
            check_compiler()
        torch.compiler.reset()
        compile_blocks(model.parts.network, "inductor" if on_card else "aot_eager")
    return model
