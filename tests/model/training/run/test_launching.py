"""Starting processes and what becomes of them; that they train together is in test_processes.py."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from anyseek.model.training.run.launching import STARTED_BY, leave, run_processes


def _run(program: str, count: int = 2, *arguments: str) -> tuple[int, list[str]]:
    said: list[str] = []
    return run_processes([sys.executable, "-c", program, *arguments], count, said.append), said


def test_each_is_told_its_number_and_where_the_others_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
    told = f"json.dump([os.environ[n] for n in {names}], file)"
    program = f"import json, os, sys\nwith open(sys.argv[1] + '/' + os.environ['RANK'], 'w') as file: {told}"
    assert _run(program, 3, str(tmp_path)) == (0, [])
    found = [json.loads((tmp_path / str(number)).read_text()) for number in range(3)]
    assert [one[:4] for one in found] == [[str(number), str(number), "3", "127.0.0.1"] for number in range(3)]
    assert len({one[4] for one in found}) == 1
    assert {one[5] for one in found} == {str(max((os.cpu_count() or 1) // 3, 1))}


def test_the_status_is_that_of_the_first_that_failed(tmp_path: Path) -> None:
    """Process 0 fails once the starter has seen process 1 end, after which no process has that number any more."""
    program = (
        "import os, pathlib, sys, time\n"
        "told = pathlib.Path(sys.argv[1])\n"
        "if os.environ['RANK'] == '1':\n"
        "    told.with_suffix('.new').write_text(str(os.getpid()))\n"
        "    told.with_suffix('.new').rename(told)\n"
        "    sys.exit(5)\n"
        "while not told.exists():\n"
        "    time.sleep(0.01)\n"
        "try:\n"
        "    while True:\n"
        "        os.kill(int(told.read_text()), 0)\n"
        "        time.sleep(0.01)\n"
        "except ProcessLookupError:\n"
        "    sys.exit(7)\n"
    )
    assert _run(program, 2, str(tmp_path / "told")) == (5, [])


def test_one_that_a_signal_ended_is_told_and_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyseek.model.training.run.launching._GRACE", 0.2)
    program = (
        "import os, pathlib, sys, time\n"
        "os.environ['RANK'] == '1' and os.kill(os.getpid(), 9)\n"
        "time.sleep(100)\n"
        "pathlib.Path(sys.argv[1]).touch()"
    )
    status, said = _run(program, 2, str(tmp_path / "outlived"))
    assert status == 1
    assert said == ["process 1 of 2 was ended by SIGKILL; --resume goes on from the last checkpoint"]
    assert not (tmp_path / "outlived").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_starter_reaches_all(number: int, tmp_path: Path) -> None:
    """Rank 0 sends it to the starter once both listen; each ends with 130 as soon as it is asked."""
    program = (
        "import os, pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(130))\n"
        "listens = pathlib.Path(sys.argv[1])\n"
        "os.environ['RANK'] == '1' and listens.touch()\n"
        "while not listens.exists():\n"
        "    time.sleep(0.01)\n"
        f"os.environ['RANK'] == '0' and os.kill(os.getppid(), {int(number)})\n"
        "time.sleep(100)"
    )
    before = signal.getsignal(number)
    assert _run(program, 2, str(tmp_path / "listens")) == (130, [])
    assert signal.getsignal(number) is before


def test_a_started_process_leaves_before_anything_can_abort_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import atexit, os; from anyseek.model.training.run.launching import leave; atexit.register(os.abort); leave(3)"
    )
    assert _run(program) == (3, [])
    monkeypatch.delenv(STARTED_BY, raising=False)
    leave(3)  # nobody started this one
