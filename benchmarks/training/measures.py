"""Measurement of one way of training, in one or several processes."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anyseek.model.network.config import FourMConfig
from anyseek.model.network.tokens import ModalityInput, ModalityTarget
from anyseek.model.network.transformer import FourM
from anyseek.model.training.pretraining.batches import Batch
from anyseek.model.training.pretraining.config import SIZES, LossKind, OptimiserConfig
from anyseek.model.training.pretraining.objective import Objective
from anyseek.model.training.pretraining.train import recompute_blocks
from anyseek.model.training.run.config import BatchConfig, Precision, RunConfig
from anyseek.model.training.run.folder import RunFolder
from anyseek.model.training.run.loop import Trainer
from anyseek.model.training.run.processes import Processes, join_processes, local_rank
from anyseek.model.training.run.state import TrainingState
from benchmarks.training.machine import UNCOUNTED

_GIVEN, _PREDICTED = ("rgb@224", "tok_depth@224"), ("tok_depth@224", "tok_normal@224")
_USED = 128  # tokens of each modality of a sample, of 196
_TOKENS = _USED * (len(_GIVEN) + len(_PREDICTED))
# TFLOP/s of dense bfloat16 products, by a part of the device's name.
_PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "4090": 165.0}
_OPTIMISER = OptimiserConfig(base_rate=1e-4)
_RUN = RunConfig(checkpoint_every=10**6, keep=1, report_every=10**6, workers=0)


@dataclass(frozen=True)
class Way:
    """A configuration to measure; `batch` counts samples of a step, and `quick` shrinks the network for tests."""

    network: str
    batch: int
    repetitions: int
    device: str
    processes: int = 1
    recomputes: bool = False
    quick: bool = False


@dataclass(frozen=True)
class _Settings:
    """The settings that the training loop reads."""

    batch: BatchConfig
    optimiser: OptimiserConfig = _OPTIMISER
    steps: int = 10**6
    evaluation: None = None
    run: RunConfig = _RUN

    def rate_at(self, step: int) -> float:
        return self.optimiser.base_rate


def measure(way: Way, folder: Path) -> dict[str, Any] | None:
    """The report, in the first process; None in the others. All processes use the same folder."""
    device = torch.device("cpu") if way.device == "cpu" else torch.device("cuda", local_rank() or 0)
    with join_processes(device) as processes:
        trainer = _trainer(way, device, processes, folder)
        batches = repeat(_batch(way.batch // processes.count))
        trainer.step(batches)  # warms up
        operations = 3 * way.batch * _forward_gflop(trainer, batches) / (way.batch // processes.count)
        seconds = [_time(lambda: trainer.step(batches), device) for _ in range(way.repetitions)]
        average = partial(processes.average, [p.grad for p in trainer.state.parameters.values() if p.grad is not None])
        averaging = [_time(average, device) for _ in range(way.repetitions)]
        saving = _time(lambda: trainer.state.save(folder, {}, 1) if processes.is_main else None, device)
        processes.any(False)
        resuming = _time(lambda: _resume(way, device, processes, folder, trainer.state), device)
        median = statistics.median(seconds)
        row = {
            "seconds": median,
            "seconds_min": min(seconds),
            "seconds_max": max(seconds),
            "tokens_per_second": way.batch * _TOKENS / median,
            "gflop": operations,
            "gflops": operations / median,
            "averaging": statistics.median(averaging) / median,
            "bytes": _bytes_per_parameter(trainer.state),
            "kept": _activation_bytes(trainer, batches),
            "save_seconds": saving,
            "resume_seconds": resuming,
        }
        processes.any(False)
        return row if processes.is_main else None


def largest_batch(way: Way) -> int:
    """The largest power of two of samples whose step fits into the memory of the GPU, 0 if none does."""
    device, size, largest = torch.device("cuda"), 1, 0
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(way, device, Processes(), Path(folder))
        while True:
            try:
                trainer.step(repeat(_batch(size)))
            except torch.OutOfMemoryError:
                return largest
            largest, size = size, 2 * size
            torch.cuda.empty_cache()


def published_peak(device: str) -> float | None:
    """Published TFLOP/s of dense bfloat16 products of a GPU by its name, None if that is unknown."""
    return next((rate for name, rate in _PEAKS.items() if name in device), None)


def matrix_rate(side: int, device: str) -> float:
    """GFLOP/s of the product of two square matrices: float32 on a CPU, bfloat16 on a GPU."""
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    first, second = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    torch.mm(first, second)
    seconds = _time(lambda: torch.mm(first, second), torch.device(device))
    return 2 * side**3 / seconds / 1e9


def _trainer(way: Way, device: torch.device, processes: Processes, folder: Path) -> Trainer[FourM, Objective]:
    """The training loop with everything but data."""
    small = {"dim": 64, "num_heads": 2, "encoder_depth": 2, "decoder_depth": 2} if way.quick else {}
    network = FourM(FourMConfig(_GIVEN, _PREDICTED, **{**SIZES[way.network], **small}))
    network.initialise(0)
    if way.recomputes:
        recompute_blocks(network)
    network.to(device)
    precision = Precision.FLOAT32 if way.device == "cpu" else Precision.BFLOAT16
    objective = Objective(LossKind.MOD, precision, dict.fromkeys(_PREDICTED, 1.0), {}, device)
    state = TrainingState.fresh(nn.ModuleDict({"network": network}), _OPTIMISER, 0.999)
    settings = _Settings(BatchConfig(size=way.batch, accumulation=processes.count))
    return Trainer(settings, network, state, objective, _NoSource(), None, RunFolder(folder), {}, print, processes)


class _NoSource:
    """A source that is never read, because batches are passed to the loop directly."""

    def maker(self) -> Any:
        raise AssertionError("no data is read")


def _batch(samples: int) -> Batch:
    """Random samples with `_USED` tokens of each modality."""
    random = torch.Generator().manual_seed(samples)
    input_mask, target_mask = (torch.ones(samples, 196, dtype=torch.bool) for _ in range(2))
    input_mask[:, :_USED], target_mask[:, -_USED:] = False, False
    pixels = torch.randn(samples, 3, 224, 224, generator=random)
    ids = {key: torch.randint(8192, (samples, 196), generator=random) for key in {*_GIVEN[1:], *_PREDICTED}}
    inputs = {key: ModalityInput(ids.get(key, pixels), input_mask) for key in _GIVEN}
    targets = {key: ModalityTarget(ids[key], target_mask) for key in _PREDICTED}
    return Batch(inputs, targets, {}, samples, 0, samples * _TOKENS)


def _forward_gflop(trainer: Trainer[FourM, Objective], batches: Iterator[Batch]) -> float:
    """GFLOP of the forward pass of one process, counted by torch; a backward pass has twice as many."""
    config = trainer.network.config
    with torch.device(trainer.objective.device):
        network = FourM(config)
    prepared = trainer.objective.prepare(next(batches))
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
        trainer.objective.losses(network, prepared)
    return float(counter.get_total_flops()) / 1e9


def _bytes_per_parameter(state: TrainingState) -> dict[str, float]:
    """Bytes that a process holds for each trained parameter, by kind."""
    parameters = list(state.parameters.values())
    moments = [value for p in parameters for value in state.optimiser.state[p].values()]
    kinds = {
        "weights": parameters,
        "gradients": [p.grad for p in parameters if p.grad is not None],
        "moments": moments,
        "averages": list(state.averages.values.values()),
    }
    numbers = sum(parameter.numel() for parameter in parameters)
    return {kind: sum(tensor.nbytes for tensor in tensors) / numbers for kind, tensors in kinds.items()}


def _activation_bytes(trainer: Trainer[FourM, Objective], batches: Iterator[Batch]) -> int:
    """Bytes saved for the backward pass, without parameters."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if all(storage.data_ptr() != p.untyped_storage().data_ptr() for p in trainer.network.parameters()):
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        trainer.step(batches)
    return sum(sizes.values())


def _resume(way: Way, device: torch.device, processes: Processes, folder: Path, saved: TrainingState) -> None:
    """Create a new trainer, load the checkpoint and run a step."""
    trainer = _trainer(way, device, processes, folder)
    trainer.state.load(folder / f"step-{saved.counters.step:09d}.safetensors")
    trainer.step(repeat(_batch(way.batch // processes.count)))


def _time(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, including the work that it started on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
