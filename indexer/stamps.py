"""Stamps: whether the files of an input have changed is told by their sizes and times, and they are not read.

A stamp covers all that an item is made of: the size and times of each file, and what is said of the picture. If the
stamp of an item is what it was when its files were last read, they are not read again.
"""

import hashlib
import json
import os
import stat
import time

from anyseek.indexer.descriptions import Description
from anyseek.indexer.samples import DECODING_VERSION
from anyseek.indexer.sources.base import Source

# A file that is written twice within the steps of a file system's clock has the same times after both. FAT's steps are
# the longest, two seconds.
SETTLED_NS = 2_000_000_000


def stamp_of(source: Source, said: Description, reading: str) -> str | None:
    """The stamp of an input as its files are now; None if the source cannot tell, or a file has just been written.

    `reading` says how much is read of a photo (`anyseek.indexer.photo_metadata.reading.version`).
    """
    parts = []
    for modality, file in said.files.items():
        state = source.state(file.path)
        if state is None:
            return None
        parts.append([modality, source.name(file.path), state, sorted(file.classes.items())])
    whole = json.dumps([DECODING_VERSION, reading, parts, said.caption, said.attributes], sort_keys=True)
    return hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()


def file_state(path: str) -> str | None:
    """The size of a file, and when its content and its entry were last changed; None if it has just been written.

    The second time cannot be set back, as tools that copy files set back the first.
    """
    try:
        found = os.stat(path)  # noqa: PTH116, a pathlib.Path for each file of a library takes longer
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) or time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < SETTLED_NS:
        return None
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}"
