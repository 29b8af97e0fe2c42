"""A source with keys that kill the process that reads them, and others that raise."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.samples import DataSample, Split


@dataclass(frozen=True)
class DyingSource:
    """Keys `kill...` kill, `refuse...` and `bug...` raise, `once...` kill if the file `once` is not there yet."""

    every: tuple[str, ...]
    folder: str = ""
    name: str = "dying"
    licence: str = "CC0"
    origin: str = "made up"

    def keys(self, split: Split) -> Sequence[str]:
        return self.every if split is Split.TRAIN else ()

    def sample(self, key: str) -> DataSample:
        if key.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if key.startswith("once"):
            self._die_once()
        if key.startswith("refuse"):
            raise SampleInvalid(f"{key} is not wanted")
        if key.startswith("bug"):
            raise ZeroDivisionError(f"<object at 0x{id(key):x}>")
        return DataSample(key, {"rgb": np.full((4, 4, 3), len(key), np.uint8)})

    def _die_once(self) -> None:
        try:
            (Path(self.folder) / "once").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
