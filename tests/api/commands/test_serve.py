"""`anyseek serve`: its record, its port, its end."""

import json
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

Picture = Callable[..., bytes]
Run = Callable[..., Any]
Serve = Callable[[Path], "subprocess.Popen[str]"]


def test_the_record_of_a_killed_service_is_ignored_at_once(serve: Serve, run: Run, tmp_path: Path) -> None:
    home = tmp_path / "killed"
    with serve(home) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    assert (home / "server.json").exists()
    assert run("collections", "list", ANYSEEK_HOME=str(home)).returncode == 0


def test_a_port_that_is_taken_is_one_line(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--port", port, ANYSEEK_HOME=str(tmp_path / "h"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"anyseek: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another --port"
    )


def test_a_second_service_of_one_home_leaves_the_record_alone(serve: Serve, serving: str, home: Path) -> None:
    with serve(home) as second:
        assert second.stdout is not None
        url = second.stdout.readline().split()[-1]
        assert url != serving
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert json.loads((home / "server.json").read_text()) == {"url": serving}
        second.send_signal(signal.SIGTERM)
        second.wait(20)
    assert json.loads((home / "server.json").read_text()) == {"url": serving}
