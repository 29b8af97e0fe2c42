"""A process that decodes pictures for a service, one at a time, until the connection closes.

    python -m anyseek.model.modalities.reading.decoder_process SOCKET MEGABYTES

It may allocate MEGABYTES after its start, has a low priority, and writes no files. An alarm ends it if a file takes too
long, even inside a decoder and after the service has died.
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

from anyseek.model.modalities.reading.decode import decode_in_process
from anyseek.model.modalities.reading.decoders import decode_task, encode_answer, receive, send
from anyseek.model.modalities.reading.errors import DecodeError, RequestTooCostly

READY = {"ready": True}
_NICENESS = 10  # so that requests that the service answers meanwhile get the processors first


def main(socket_number: int, megabytes: int) -> None:
    os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which then closes the connection
    connection = socket.socket(fileno=socket_number)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(
            "1000"
        )  # if memory runs out, the kernel kills this process and not the service
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
    request, file = decode_task(task, data)
    assert file.budget is not None
    try:
        head, value = encode_answer(decode_in_process(request, file))
    except DecodeError as error:
        refusal: Exception = error
        if isinstance(error.__cause__, MemoryError):
            refusal = RequestTooCostly(f"{file.name} takes more than {megabytes:,} MB of memory to decode")
        return {"error": type(refusal).__name__, "text": str(refusal), "left": file.budget.pixels_left}, b""
    return {**head, "left": file.budget.pixels_left}, value


def _address_space() -> int:
    """The process's address space in bytes; 0 where the system does not report it."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return 0


def _limit(kind: int, most: int) -> None:
    with suppress(OSError, ValueError):  # macOS has no limit of memory
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
