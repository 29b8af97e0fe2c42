"""How the C library gives memory back to the system."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST = 32 * 1024 * 1024  # that glibc takes on 64 bits; above it, every array is mapped and unmapped by itself


def keep_freed_memory() -> bool:
    """Have glibc keep up to 64 MiB that was freed, so that the next pass of a network finds it mapped; else do nothing.

    A network's intermediate results have megabytes. By default each is mapped, cleared page by page by the system at
    its first use, and unmapped. Returns whether the library is glibc and took it.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):  # musl, macOS
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST) and library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST))
