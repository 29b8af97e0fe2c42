"""Importing large packages without looking for garbage among what they make, all of which stays.

Python looks through everything that lives whenever many more objects were made. `import torch` makes some 250,000 of
them, and was looked through for a tenth of its time, and again when the process ended.
"""

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Keeping:
    """Whether this process is Anyseek's own program, so that its imports may be kept from being looked through."""

    imports = False


def keep_imports() -> None:
    """Have `importing` keep what lives at its end from ever being looked through again.

    Only for a process whose own program this is: garbage of whoever imports Anyseek would be kept, too. That of the
    imports themselves is. It is a few of the objects in a hundred, and to find them takes what is to be saved.
    """
    _Keeping.imports = True


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Import `module` within the block. Python looks for no garbage in it, unless the module is imported already."""
    if module in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if _Keeping.imports and threading.active_count() == 1:  # garbage of other threads would be kept, too
            gc.freeze()
        gc.enable()
