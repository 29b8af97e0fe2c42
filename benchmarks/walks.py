"""Counts the modules that a query and an indexed file pass through: `python -m benchmarks.walks [--modules]`.

The first walk is a query part from the HTTP endpoint to its hits, the second a file from `anyseek index` to its vector
and row. Both run with the hashing model in an empty data directory, and a profile hook records each product module
whose functions are called, in the order of the first call.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image

from anyseek.api.app import create_app
from anyseek.api.cli import run
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.settings import read_settings
from anyseek.workers.runtime import Runtime
from benchmarks.structure import ROOT

QUERY = ("queries/routes.py", "query")  # file and function where the walk of a query starts
ANSWERED = ("http/middleware.py", "_log")  # where it ends: the answer has been sent
WRITTEN = ("catalogue/items.py", "write")  # where the walk of a file ends


class Walk:
    """Profile hook that records modules from the call of `start`, or at once, to the return of `end`, or for ever."""

    def __init__(self, start: tuple[str, str] | None, end: tuple[str, str] | None) -> None:
        self.modules: list[str] = []
        self._start, self._end = start, end
        self._is_recording = start is None

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        module = self._module(frame)
        if module is None or event not in ("call", "return"):
            return
        name = ("/".join(Path(frame.f_code.co_filename).parts[-2:]), frame.f_code.co_name)
        self._is_recording = self._is_recording or (event == "call" and name == self._start)
        if self._is_recording and event == "call" and module not in self.modules and not _is_importing(frame):
            self.modules.append(module)
        if self._is_recording and event == "return" and name == self._end:
            self._is_recording, self._start = False, None

    @staticmethod
    def _module(frame: FrameType) -> str | None:
        path = Path(frame.f_code.co_filename)
        if frame.f_code.co_name == "<module>" or not path.is_relative_to(ROOT):
            return None
        inner = path.relative_to(ROOT)
        return ".".join(inner.with_suffix("").parts) if inner.parts[0] == "anyseek" else None


def _is_importing(frame: FrameType | None) -> bool:
    """Whether the call is part of an import: a class body, or a call at the top level of a module."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            return not Path(frame.f_code.co_filename).is_relative_to(ROOT / "benchmarks")
        frame = frame.f_back
    return False


@contextmanager
def profiling(walk: Walk) -> Iterator[None]:
    """Record this thread and every thread that starts in the block."""
    threading.setprofile(walk)
    sys.setprofile(walk)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def index_walk(pictures: Path) -> list[str]:
    """Modules that a picture passes through from `anyseek index` to its row."""
    walk = Walk(None, WRITTEN)
    with profiling(walk):
        status = run(["index", str(pictures), "--collection", "walk", "--model", "hashing"])
    assert status == 0
    return walk.modules


def query_walk(picture: Path) -> list[str]:
    """Modules that a query by an uploaded picture passes through, from the endpoint to its answer."""
    walk = Walk(QUERY, ANSWERED)
    with Runtime.open(read_settings(), "hashing") as runtime:
        service = Service(runtime, ServiceSettings())
        for hook in (nullcontext(), profiling(walk)):  # the first query loads the model and the index
            with hook, TestClient(create_app(service), base_url="http://127.0.0.1") as client:
                while client.get("/readyz").status_code != 200:
                    time.sleep(0.05)
                query = json.dumps({"parts": [{"modality": "rgb", "file": "picture"}], "k": 3})
                form = {"query": (None, query), "picture": ("red.png", picture.read_bytes())}
                client.post("/v1/collections/walk/query", files=form).raise_for_status()
    return walk.modules


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--modules", action="store_true", help="list the modules of both walks, in the order of their first call"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(scratch) / "pictures" / "red.png"
        picture.parent.mkdir()
        Image.new("RGB", (64, 48), "red").save(picture)
        os.environ["ANYSEEK_HOME"] = str(Path(scratch) / "home")
        walks = {"from `anyseek index` to vector and row": index_walk(picture.parent)}
        walks["from a query part over HTTP to hits"] = query_walk(picture)
    for label, modules in walks.items():
        print(f"{label:<40} {len(modules):>3} modules")
        if options.modules:
            print("\n".join(f"    {module}" for module in modules))


if __name__ == "__main__":
    main()
