"""What is tried at scale is tried in full when it is small, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anyseek.search.spaces.local.candidates import Ivf
from benchmarks.all import HERE
from benchmarks.scale import processes, vectors

_WHERE = {"cores": 2, "load": 0.0}


def scale(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale", *arguments], cwd=HERE, stdout=subprocess.PIPE, text=True
    )


def test_what_is_timed_is_as_before_afterwards() -> None:
    before = [getattr(holder, name) for holder, name in vectors.STAGES.values()]
    with vectors.timed() as seconds:
        assert Ivf.trained != before[1]
    assert [getattr(holder, name) for holder, name in vectors.STAGES.values()] == before
    assert set(seconds) == set(vectors.STAGES)


@pytest.mark.slow
def test_a_command_that_fails_is_said_and_leaves_no_process() -> None:
    with pytest.raises(processes.CommandFailed, match="no-such-folder"):
        processes.commands(("index", "/no-such-folder", "--collection", "c"), os.environ, number=1)


@pytest.mark.slow
def test_one_that_is_stopped_leaves_neither_processes_nor_files(tmp_path: Path) -> None:
    kept = {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "benchmarks.scale", "--pictures", "3000", "--workers", "1"]
    started = subprocess.Popen(command, cwd=HERE, env=os.environ | kept)
    patience = time.monotonic() + 120
    while not (indexing := _indexing(started.pid)):
        assert started.poll() is None
        assert time.monotonic() < patience, "it has not begun to index"
        time.sleep(0.05)
    assert list(tmp_path.iterdir())
    started.send_signal(signal.SIGTERM)
    assert started.wait(60) == 128 + signal.SIGTERM
    assert not [pid for pid in indexing if _is_running(pid)]
    assert not list(tmp_path.iterdir())


def test_a_group_has_ended_though_nobody_asks_how_its_processes_have() -> None:
    """Where the first process takes in no orphans, a group that was killed stays, and ending it never came back."""
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    leader = subprocess.Popen(sleep, process_group=0)
    member = subprocess.Popen(sleep, process_group=leader.pid)
    worker = SimpleNamespace(pid=leader.pid, kill=leader.kill, join=leader.wait)
    ending = threading.Thread(target=processes._end_group, args=(worker,), daemon=True)
    ending.start()
    ending.join(60)
    has_ended = not ending.is_alive()
    assert (member.wait(), has_ended) == (-signal.SIGKILL, True)


def _indexing(pid: int) -> list[int]:
    """The processes of `anyseek index` among all that a process has started."""
    children = [int(child) for child in _told(pid, f"task/{pid}/children").split()]
    own = [child for child in children if b"\0index\0" in _told(child, "cmdline")]
    return own + [found for child in children for found in _indexing(child)]


def _told(pid: int, name: str) -> bytes:
    """What the kernel tells about a process; nothing of one that has just ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _is_running(pid: int) -> bool:
    stat = _told(pid, "stat")
    return bool(stat) and b") Z " not in stat


@pytest.mark.slow
def test_quick_tries_everything_and_prints_an_object_for_each() -> None:
    told: list[Any] = []
    done = scale("--quick", "--json")
    text = done.communicate()[0]
    assert done.returncode == 0
    decoder = json.JSONDecoder()
    while text.strip():
        one, end = decoder.raw_decode(text.lstrip())
        told.append(one)
        text = text.lstrip()[end:]
    assert ["catalogue_bytes" in told[0], told[1]["pictures"], told[2]["made"]["vectors"]] == [True, 300, 3_000]
    assert (told[1]["indexing"]["indexed"], told[1]["unchanged"]["unchanged"]) == (300, 300)
    assert told[2]["searches"]["rows"]["none"]["engine"]["recall"] > 0.9
