"""`anyseek serve`: its record, its port, its end."""

import asyncio
import json
import signal
import socket
from pathlib import Path

import httpx
import pytest

from anyseek.api.commands.serve import listen
from tests.api.commands.conftest import Run, Serve


def test_the_record_of_a_killed_service_is_ignored(serve: Serve, run: Run, tmp_path: Path) -> None:
    home = tmp_path / "killed"
    with serve(home) as process:
        process.stdout.readline()
        process.kill()
    assert (home / "server.json").exists()
    assert run("collections", "list", ANYSEEK_HOME=str(home)).returncode == 0


def test_a_port_that_is_taken_is_one_line(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = run("serve", "--port", port, ANYSEEK_HOME=str(tmp_path / "h"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"anyseek: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another --port"
    )


def test_a_second_service_of_one_home_leaves_the_record_alone(serve: Serve, serving: str, home: Path) -> None:
    with serve(home) as second:
        url = second.stdout.readline().split()[-1]
        assert url != serving
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert json.loads((home / "server.json").read_text()) == {"url": serving}
        second.send_signal(signal.SIGTERM)
        second.wait(20)
    assert json.loads((home / "server.json").read_text()) == {"url": serving}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_responses_are_sent_without_nagle_delay(host: str) -> None:
    """Without TCP_NODELAY each answer but the first of a connection took 40 ms longer."""
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")

    async def is_sent_at_once() -> bool:
        accepted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
            writer.close()

        with listen(host, 0) as listener, socket.socket(listener.family) as client:
            async with await asyncio.start_server(look, sock=listener):
                await asyncio.get_running_loop().run_in_executor(None, client.connect, listener.getsockname())
                return await asyncio.wait_for(accepted, 30)

    assert asyncio.run(is_sent_at_once())


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
