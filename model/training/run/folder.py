"""The folder of a run: what it contains, which process may write to it, and whether the run can be resumed."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.files import FileLock, remove_leftovers
from anyseek.model.training.run.errors import RunConflict
from anyseek.model.training.run.state import checkpoints, made_with

_LEFT_OUT = {"step", "tokens", "seconds"}  # counters that a checkpoint keeps beside what made it


@dataclass(frozen=True)
class RunFolder:
    """Paths below the folder of one run."""

    root: Path

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def vocabulary(self) -> Path:
        return self.root / "vocabulary.json"

    @property
    def config(self) -> Path:
        """A copy of the config that the run was last started with."""
        return self.root / "config.yaml"

    @property
    def model(self) -> Path:
        """The finished network: averaged weights as a published checkpoint."""
        return self.root / "model.safetensors"

    @property
    def tokenizer(self) -> Path:
        """The finished tokenizer: averaged weights as a published checkpoint."""
        return self.root / "tokenizer.safetensors"

    @property
    def reconstructions(self) -> Path:
        """Pictures of what a tokenizer made of validation samples, one an evaluation."""
        return self.root / "reconstructions"

    @property
    def shortcuts(self) -> Path:
        """The finished shortcuts, with the averages of what was trained of them."""
        return self.root / "shortcuts.safetensors"

    @property
    def fitted(self) -> Path:
        """The shortcuts that the run began with."""
        return self.root / "fitted.safetensors"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and keep other processes from training in it. Raises `RunConflict`."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / ".lock")
        if not lock.try_acquire():
            raise RunConflict(f"another process is training in {self.root}; give this run a folder of its own")
        try:
            yield
        finally:
            lock.release()

    def checkpoint(self, resume: bool) -> Path | None:
        """The checkpoint to resume from, or None to start anew; half-written files of a killed process are deleted.

        Raises `RunConflict` if there is a checkpoint and `resume` is not set.
        """
        remove_leftovers(self.checkpoints)
        found = checkpoints(self.checkpoints)
        if found and not resume:
            raise RunConflict(
                f"{self.root} already holds a run; continue it with --resume, or choose another folder with --out"
            )
        return found[-1] if found else None


def check_same_run(checkpoint: Path, now: Mapping[str, str]) -> None:
    """Refuse to go on from a checkpoint that was made with other settings or data. Raises `RunConflict`."""
    then = made_with(checkpoint)
    for name in sorted((then.keys() | now.keys()) - _LEFT_OUT):
        if then.get(name) != now.get(name):
            before, after = then.get(name, "nothing"), now.get(name, "nothing")
            raise RunConflict(
                f"{checkpoint} was made with {name} {before:.60}, now it is {after:.60}; choose another --out"
            )


def described(value: object, path: str = "") -> dict[str, str]:
    """Nested settings as one flat mapping of paths to JSON, such as `optimiser.base_rate` to `0.0001`."""
    if isinstance(value, Mapping):
        parts = [described(part, f"{path}.{key}" if path else str(key)) for key, part in value.items()]
        return {key: text for part in parts for key, text in part.items()}
    return {path: json.dumps(value, default=str)}
