"""CUDA graphs and streams that are not there: what a capture saw runs again at each replay, on the same memory.

As on a card, a capture computes nothing, it needs passes on its stream before it, and in it the program must neither
wait for the card nor copy from the CPU. Graphs of one pool overwrite each other's results. A capture that fails leaves
its stream as the current one, as torch does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.simulated_card import CARD, OnCard

_WAITING = ("aten._local_scalar_dense.", "aten.nonzero.", "aten.masked_select.", "aten.equal.")


class Stream:
    """A stream by its name; `seen` has what all of them did."""

    def __init__(self, seen: list[str], name: str) -> None:
        self._seen, self.name = seen, name

    def wait_stream(self, other: "Stream") -> None:
        """Noted."""
        self._seen.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: "Event") -> None:
        """Noted where something was recorded."""
        if event.recorded is not None:
            self._seen.append(f"{self.name} waits for what {event.recorded} did")


@dataclass
class Event:
    """Knows the stream that recorded it last."""

    recorded: str | None = None

    def record(self, stream: Stream) -> None:
        """Noted."""
        self.recorded = stream.name


class Recording(TorchDispatchMode):
    """Notes every operation of a capture, and raises what a card would raise for one that cannot be captured."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """One operation, which is computed for the shapes of what it makes."""
        named = dict(kwargs or {})
        made = func(*args, **named)
        given = _tensors((args, named))
        crosses = _crosses(given, _tensors(made))
        if str(func).startswith(_WAITING) or crosses:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        self.operations.append((func, args, named, made))
        return made

    def fresh(self) -> Iterator[Tensor]:
        """What operations made in memory of its own."""
        for _, args, named, made in self.operations:
            taken = {_memory(tensor) for tensor in _tensors((args, named))}
            yield from (tensor for tensor in _tensors(made) if _memory(tensor) not in taken)

    def run_again(self) -> None:
        """Every operation on the tensors that it had, into the tensors that it made."""
        for func, args, named, made in self.operations:
            for old, new in zip(_tensors(made), _tensors(func(*args, **named)), strict=True):
                if _memory(old) != _memory(new):
                    old.copy_(new)


class Graph:
    """Stands in for `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.recorded = Recording()
        self.pool: list[Graph] = []
        self.replays = 0

    def replay(self) -> None:
        """Run what was captured; what other graphs of the pool made is gone."""
        self.replays += 1
        for other in self.pool:
            if other is not self:
                other.forget()
        self.recorded.run_again()

    def forget(self) -> None:
        """Write other numbers over what it made."""
        for tensor in self.recorded.fresh():
            tensor.fill_(torch.nan if tensor.is_floating_point() else 1)


@dataclass
class Cuda:
    """What stands in for `torch.cuda`; `failing` is the error that captures end with, if any."""

    seen: list[str] = field(default_factory=list)
    graphs: list[Graph] = field(default_factory=list)
    failing: str | None = None
    threads: local = field(default_factory=local)

    def current_stream(self, device: object = None) -> Stream:
        """The calling thread's."""
        found: Stream = getattr(self.threads, "stream", None) or Stream(self.seen, "own")
        return found

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        """Makes it the current one in a block."""
        before = self.current_stream()
        self.threads.stream = stream
        try:
            yield
        finally:
            self.threads.stream = before

    @contextmanager
    def graph(self, graph: Graph, *, pool: list[Graph], stream: Stream, capture_error_mode: str) -> Iterator[None]:
        """A capture."""
        assert capture_error_mode == "thread_local", "other threads use the card meanwhile"
        assert f"{stream.name} waits for own" in self.seen, "what is copied on another stream may not be there yet"
        assert self.seen[-1] == f"own waits for {stream.name}", "the warm-up may still be under way"
        before = self.current_stream()
        self.threads.stream = stream
        with graph.recorded:
            yield
        if self.failing is not None:
            raise RuntimeError(self.failing)
        self.threads.stream = before
        self.seen.append(f"captured on {stream.name}")
        graph.pool = pool
        pool.append(graph)
        self.graphs.append(graph)
        graph.forget()


def install(patch: pytest.MonkeyPatch) -> Cuda:
    """Have torch capture and replay by the stand-ins."""
    cuda = Cuda()

    @contextmanager
    def device(device: object) -> Iterator[None]:
        yield

    for name, stands_in in {
        "CUDAGraph": Graph,
        "graph": cuda.graph,
        "stream": cuda.stream,
        "current_stream": cuda.current_stream,
        "Stream": lambda device: Stream(cuda.seen, "side"),
        "Event": Event,
        "graph_pool_handle": list,
        "device": device,
    }.items():
        patch.setattr(torch.cuda, name, stands_in)
    return cuda


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _memory(tensor: Tensor) -> int:
    held = tensor.held if isinstance(tensor, OnCard) else tensor
    return held.untyped_storage().data_ptr()


def _crosses(given: Sequence[Tensor], made: Sequence[Tensor]) -> bool:
    """Whether numbers go from the CPU to the simulated card or back."""
    places = {tensor.device for tensor in (*given, *made) if tensor.ndim}
    return CARD in places and len(places) > 1
