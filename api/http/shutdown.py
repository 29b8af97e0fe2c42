"""Shutdown with two deadlines: a few seconds for open requests, a few more for everything else, then the process ends.

A thread cannot be stopped from outside, and Python waits for its threads. Work checks between stages whether it is
still needed, but a stage may take long. Ending within one loses nothing: a transaction is written completely or
not at all, and the next process resumes a job from its ledger.
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


class GracefulServer(uvicorn.Server):
    """uvicorn's server whose process ends `STOP_SECONDS` after the signal, even while threads are running."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        timer = threading.Timer(STOP_SECONDS, _end_process)
        timer.daemon = True  # a process that ends earlier does not wait for it
        timer.start()
        await super().shutdown(sockets)


def _end_process() -> None:
    logger.warning("work is still under way; this process ends without it")
    sys.stderr.flush()
    os._exit(0)
