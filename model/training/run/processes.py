"""The processes that train one network together, and their communication.

torchrun or `anyseek.model.training.run.launching` starts them and gives each its number in the environment. Numbers
such as counts are sent through the CPU (gloo), even where tensors go from GPU to GPU (NCCL): the closed connection of a
process that ended is then noticed at once, not only after a timeout.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from anyseek.model.training.run.errors import ProcessLost, TrainingConfigInvalid

# Others wait so long for the first process, which alone evaluates and saves, and for one that hangs.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Processes:
    """All processes of a run, as seen by one of them: its `number` of `count`.

    Every process must make the same calls in the same order. A single process sends nothing.
    """

    number: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which evaluates, reports and writes."""
        return self.number == 0

    def sum_over_processes(self, values: Sequence[float]) -> list[float]:
        """Element-wise sums of lists of the same length over all processes."""
        if self.count == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        found: list[float] = sums.tolist()
        return found

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process."""
        return self.sum_over_processes([float(flag)])[0] > 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of the same shapes in all processes by their mean, in place."""
        if self.count == 1:
            return
        messages = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
        for message in messages:
            message.wait()
        torch._foreach_div_(list(tensors), self.count)

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """A context that the main process runs before the others, which find the files that it wrote."""
        if not self.is_main:
            self.any(False)
        yield
        if self.is_main:
            self.any(False)


SINGLE_PROCESS = Processes()


@contextmanager
def join_processes(device: torch.device, patience: timedelta = PATIENCE) -> Iterator[Processes]:
    """Join the processes that the environment describes; a lone process if it describes none.

    Raises `ProcessLost` if another process ends or does not answer within `patience`.
    """
    if "RANK" not in os.environ:
        yield SINGLE_PROCESS
        return
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    with _reporting_lost_processes(patience):
        dist.init_process_group(backend, timeout=patience)
        found = Processes(dist.get_rank(), dist.get_world_size())
        yield found
        found.any(False)  # the first may still be writing when the others are done
        dist.destroy_process_group()  # not after an error: it may wait for those that are gone


@contextmanager
def _reporting_lost_processes(patience: timedelta) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        # gloo has no type of its own for its errors
        if not isinstance(error, dist.DistError) and "/gloo/" not in str(error):
            raise
        raise ProcessLost(
            "another process of this run has ended, or did not answer for "
            f"{patience.total_seconds():g} seconds; --resume goes on from the last checkpoint"
        ) from error


def local_rank() -> int | None:
    """The rank of this process on its machine; None for a single process."""
    return int(os.environ.get("LOCAL_RANK", 0)) if "RANK" in os.environ else None


def check_divisible(accumulation: int, count: int) -> None:
    """Refuse a step whose parts cannot be divided equally among processes. Raises `TrainingConfigInvalid`."""
    if accumulation % count:
        raise TrainingConfigInvalid(
            f"batch.accumulation {accumulation} cannot be divided among {count} processes, each of which takes as many "
            "parts of a step; make it a multiple of them"
        )


def choose_device(name: str | None, local: int | None = None) -> torch.device:
    """The device of that name, by default the GPU if there is one; of several processes on a machine the `local`-th.

    Raises `TrainingConfigInvalid`.
    """
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if chosen == "cuda" and local is not None:
        chosen = f"cuda:{local}"
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise TrainingConfigInvalid(
            f"the device {chosen!r} cannot be used here: {str(error).splitlines()[0]}"
        ) from error
    return torch.device(chosen)
