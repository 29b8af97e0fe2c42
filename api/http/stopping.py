"""The end of a service: requests have a few seconds to be answered, all else a few more, and then the process ends.

A thread cannot be stopped from outside, and Python waits for its threads. Work asks between its stages whether it is
still wanted, and a stage may take long. To end within one loses nothing: what a transaction writes is written whole or
not at all, and a job goes on where the next process finds its ledger.
"""

import logging
import os
import socket
import sys
import threading

import uvicorn

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5  # for open requests; then they are abandoned
STOP_SECONDS = 20.0  # for everything; docs/operating.md and the files in deploy/ count on it


class StoppingServer(uvicorn.Server):
    """uvicorn's server, whose process ends `STOP_SECONDS` after it was told to stop, whatever its threads do."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        end = threading.Timer(STOP_SECONDS, _end_process)
        end.daemon = True  # a process that ends before does not wait for it
        end.start()
        await super().shutdown(sockets)


def _end_process() -> None:
    logger.warning("work is still under way; this process ends without it")
    sys.stderr.flush()
    os._exit(0)
