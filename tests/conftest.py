"""One thread a process: tests run beside each other, and sums come out in the same order everywhere."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start
