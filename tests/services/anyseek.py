"""`anyseek serve` in a process of its own, with the hashing model, on a free port of loopback."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.services.servers import LOOPBACK, Server

_PROGRAM = "from anyseek.api.cli import main; main()"
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Usage:
    """What a process holds: resident memory in MiB, the most that it ever was, and open descriptors."""

    memory: float
    peak: float
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        assert peak
        return cls(
            pages * os.sysconf("SC_PAGE_SIZE") / _MEBIBYTE,
            int(peak[1]) / 1024,
            sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        )


class Anyseek(Server):
    """The service, with its data directory `home` in its folder and only those ANYSEEK_ settings that are given.

    `lines` are Python that runs in it first, to set a trap.
    """

    name = "anyseek serve"

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, lines: str = "") -> None:
        super().__init__(folder)
        self._settings, self._lines = settings or {}, lines

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def command(self) -> list[str]:
        program = f"{self._lines}\n{_PROGRAM}"
        return [sys.executable, "-c", program, "serve", "--port", str(self.port), "--model", "hashing"]

    def environment(self) -> Mapping[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("ANYSEEK")}
        return plain | {"ANYSEEK_HOME": str(self.home), "OMP_NUM_THREADS": "1", **self._settings}

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def usage(self) -> Usage:
        """What its process holds now."""
        assert self.process
        return Usage.of(self.process.pid)
