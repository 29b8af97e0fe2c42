"""Whether a scan may go on where it was: a folder or bucket has no version, so only if that was not long ago."""

import time

RESUMABLE_SECONDS = 3600.0


def version_now() -> str:
    """What stands for the state of a listing that begins now."""
    return str(time.time())


def is_fresh(version: str) -> bool:
    """Whether a listing that began then may still be gone on with."""
    return 0 <= time.time() - float(version) < RESUMABLE_SECONDS
