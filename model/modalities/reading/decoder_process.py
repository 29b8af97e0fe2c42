"""A process that decodes pictures for a service, one at a time, until the service closes the connection or is gone.

    python -m anyseek.model.modalities.reading.decoder_process SOCKET MEGABYTES

It may take so much memory beyond what it starts with, has a low priority, and writes no files. If a file takes too
long, its alarm ends it, even in the midst of a decoder and with nobody left to kill it.
"""

import math
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from anyseek.model.modalities.reading.decode import read_here
from anyseek.model.modalities.reading.decoders import answer_of, file_of, receive, send
from anyseek.model.modalities.reading.errors import DecodeError, RequestTooCostly

READY = {"ready": True}
_NICER = 10  # so that the service, which answers others meanwhile, gets the processors first


def main(socket_number: int, megabytes: int) -> None:
    os.nice(_NICER)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which then closes the connection
    connection = socket.socket(fileno=socket_number)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # where memory ends, this goes and the service stays
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_AS, _address_space() + megabytes * 1024 * 1024)
    send(connection, READY)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries complain about damaged files, as often as one is sent
    while (message := receive(connection)) is not None:
        task, data = message
        signal.alarm(math.ceil(task["seconds"]) + 1)
        send(connection, *_answer(task, bytes(data), megabytes))
        signal.alarm(0)


def _answer(task: dict[str, Any], data: bytes, megabytes: int) -> tuple[dict[str, Any], bytes | memoryview]:
    request, file = file_of(task, data)
    assert file.budget is not None
    try:
        head, value = answer_of(read_here(request, file))
    except DecodeError as error:
        refusal: Exception = error
        if isinstance(error.__cause__, MemoryError):
            refusal = RequestTooCostly(f"{file.name} takes more than {megabytes:,} MB of memory to decode")
        return {"error": type(refusal).__name__, "text": str(refusal), "left": file.budget.pixels_left}, b""
    return {**head, "left": file.budget.pixels_left}, value


def _address_space() -> int:
    """The bytes of address space that the process has already; 0 where the system does not tell."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return 0


def _limit(kind: int, most: int) -> None:
    with suppress(OSError, ValueError):  # macOS has no limit of memory
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
