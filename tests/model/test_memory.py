import platform
import subprocess
import sys

from anyseek.model.compute.threads import keep_freed_memory

# Each array is larger than what glibc maps by itself unless it is told otherwise, and none is kept by Python.
COUNT = """
import ctypes, resource, sys
from anyseek.model.compute.threads import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
def use():
    block = library.malloc(30 << 20)
    ctypes.memset(block, 1, 30 << 20)
    library.free(block)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_is_used_again_without_page_faults() -> None:
    is_glibc = platform.libc_ver()[0] == "glibc"
    assert keep_freed_memory() is is_glibc
    if is_glibc:
        assert _faults("keep") < 0.2 * _faults("leave")


def _faults(what: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT, what], check=True, capture_output=True, text=True)
    return int(done.stdout)
