"""One thread a process: tests run beside each other, and sums come out in the same order everywhere.

No example has a deadline: what a slow machine does in a second is no failure.
"""

import os

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start
