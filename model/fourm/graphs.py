"""Passes of a 4M network as CUDA graphs: what a card does for a small batch, recorded once and started as a whole.

A pass is hundreds of kernels. For a few samples each takes less than the program needs to start the next, so the card
waits for the program; a graph starts all of them at once. It reads and writes the same memory every time: inputs are
copied into it, and what comes out is copied before the next one writes there. So it fits only one shape, and batches
are padded to a few shapes: rows and the entries of sequences to powers of two. A row's own tokens are all that it
attends to, so that changes nothing but rounding (`anyseek.model.agreement`). No card has run any of this yet
(docs/gpu.md).
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from anyseek.model.devices import CARD
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.tokens import Fill, ModalityInput
from anyseek.model.network.transformer import FourM
from anyseek.model.switches import switches

MOST_ROWS = 16  # of a batch; for more a card has enough to do while the program starts the next kernels
KEPT = 32  # shapes of a network; the one that was not used for longest goes
_SHORTEST = 16  # tokens of a sequence in a graph
_WARM_UPS = 3  # passes before a capture, in which libraries choose their kernels and take their memory

_log = logging.getLogger(__name__)
_capturing = threading.Lock()  # torch allows one capture at a time in a process

Inputs = Mapping[str, ModalityInput]
_Name = TypeVar("_Name", bound=Hashable)
_Compute = Callable[[Inputs, Fill], dict[_Name, Tensor]]


@dataclass(frozen=True)
class Room:
    """A modality's place in a graph: its key, the shape of a row's values, their dtype, and its tokens."""

    key: str
    values: tuple[int, ...]
    dtype: torch.dtype
    tokens: int


@dataclass(frozen=True)
class Shape:
    """What is the same at every use of a graph. `asked` says what is computed."""

    rows: int
    rooms: tuple[Room, ...]
    fill: Fill
    asked: Hashable


def graphs_for(network: FourM) -> "Graphs | None":
    """The graphs of a network on a card, None on a CPU and where they are switched off."""
    device = network.mask_token.device
    return Graphs(network.config, device) if device.type == CARD and switches().cuda_graphs else None


def shape_of(config: FourMConfig, inputs: Inputs, fill: Fill, asked: Hashable) -> Shape | None:
    """The shape of the graph that takes a batch; None for a large one, and one with a row that has no tokens.

    Such a row alone attends to nothing, but in a graph it would to padding. Rows of images that are all used, or all
    thinned alike, have no mask. Sequences always have one, so that their lengths share a graph.
    """
    rooms = tuple(_room(config, key, given) for key, given in inputs.items())
    count = len(next(iter(inputs.values())).mask)
    if count > MOST_ROWS or fill.shortest == 0:
        return None
    if not fill.even or not all(config.row(key).is_image for key in inputs):
        fill = Fill(min(_length(fill.longest), sum(room.tokens for room in rooms)), 0)
    return Shape(_power_of_two(count), rooms, fill, asked)


def _room(config: FourMConfig, key: str, given: ModalityInput) -> Room:
    tokens, (first, *others) = given.mask.shape[1], given.values.shape[1:]
    if not config.row(key).is_image:
        tokens = first = _length(tokens)
    return Room(key, (first, *others), given.values.dtype, tokens)


def _length(tokens: int) -> int:
    return max(_SHORTEST, _power_of_two(tokens))


def _power_of_two(count: int) -> int:
    """The least one that is not below `count`."""
    return 1 << max(0, count - 1).bit_length()


class Graphs:
    """The captured passes of the network of `config` on `device`, a card; safe for several threads.

    All share one pool of memory, so that they need that of the largest and not of all together. Therefore only one runs
    at a time: whoever uses one holds the lock while work is given to the card, and not until it is done.
    """

    def __init__(self, config: FourMConfig, device: torch.device) -> None:
        self._config, self._device = config, device
        self._lock = threading.Lock()
        self._kept: OrderedDict[Shape, _Graph | None] = OrderedDict()
        self._works = True
        self._pool = torch.cuda.graph_pool_handle()
        self._side: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._done: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def run(self, compute: _Compute[_Name], inputs: Inputs, fill: Fill, asked: Hashable) -> dict[_Name, Tensor]:
        """What `compute` gives for inputs (B rows) and their fill: tensors (B, ...), which belong to the caller.

        `compute` must be one function of both for each `asked`, and never wait for the card. A shape is captured when
        it comes a second time: one that never comes again is not worth it. Where a capture fails, the log has one
        warning, and every pass is computed as without graphs.
        """
        shape = shape_of(self._config, inputs, fill, asked)
        if shape is not None:
            with self._lock:
                stream = torch.cuda.current_stream(self._device)
                stream.wait_event(self._done)  # threads may have streams of their own, but the graphs share memory
                graph = self._known(shape, compute, inputs)
                if graph is not None:
                    found: dict[_Name, Tensor] = graph.replay(inputs)
                    self._done.record(stream)
                    return found
        return compute(inputs, fill)

    def _known(self, shape: Shape, compute: _Compute[Any], inputs: Inputs) -> "_Graph | None":
        if not self._works:
            return None
        if shape not in self._kept:
            self._kept[shape] = None
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return None
        self._kept.move_to_end(shape)
        if self._kept[shape] is None:
            self._kept[shape] = self._captured(shape, compute, inputs)
        return self._kept.get(shape)

    def _captured(self, shape: Shape, compute: _Compute[Any], inputs: Inputs) -> "_Graph | None":
        """None where it failed: the card may lack memory, or a library may not allow it."""
        try:
            with _capturing, torch.cuda.device(self._device):
                return _capture(shape, compute, inputs, self._pool, self._side)
        except RuntimeError as error:
            _log.warning(
                "CUDA graphs cannot be used, so passes start kernel by kernel: %s", " ".join(str(error).split())
            )
            self._works = False
            self._kept.clear()
            return None


@dataclass(frozen=True)
class _Graph:
    """A captured pass with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    made: Mapping[Any, Tensor]

    def replay(self, inputs: Inputs) -> dict[Any, Tensor]:
        """What it makes of a batch that fits, as copies: the next replay writes over its own."""
        _put(inputs, self.inputs)
        self.graph.replay()
        count = len(next(iter(inputs.values())).mask)
        return {name: rows[:count].clone() for name, rows in self.made.items()}


def _capture(shape: Shape, compute: _Compute[Any], inputs: Inputs, pool: Any, side: torch.cuda.Stream) -> _Graph:
    """Record a pass on the stream `side`, after some that warm up there. Raises `RuntimeError` where it cannot be."""
    like = next(iter(inputs.values())).mask
    own = torch.cuda.current_stream(like.device)
    room = {
        about.key: ModalityInput(
            like.new_zeros((shape.rows, *about.values), dtype=about.dtype), like.new_ones((shape.rows, about.tokens))
        )
        for about in shape.rooms
    }
    _put(inputs, room)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(own):  # a capture that fails leaves its own stream as the current one
        side.wait_stream(own)
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                compute(room, shape.fill)
        own.wait_stream(side)
        # Other threads may take memory of the card meanwhile, which only this one must not.
        with torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode="thread_local"):
            made = compute(room, shape.fill)
    return _Graph(graph, room, made)


def _put(inputs: Inputs, room: Inputs) -> None:
    """Copy a batch into the inputs of a graph. Unused entries are masked; nobody reads unused rows."""
    for key, static in room.items():
        given = inputs[key]
        count, used = given.mask.shape
        static.mask[:count, :used].copy_(given.mask)
        static.mask[:count, used:].fill_(True)
        static.values[:count, : given.values.shape[1]].copy_(given.values)
