"""The unconditional pass of guidance where it is a constant of network and target: computed once and kept.

That is so where a step decodes all tokens of an image at once and every input is hidden: the pass then sees nothing, or
`[S_1]` alone in place of each hidden sequence. In a guided one-step plan of 4M-21_B from a photo it is a third of the
work.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor

_MOST_BYTES = 128 * 2**20  # all image targets of 4M-21 at 224 pixels take 65 MB for one kind of inputs


class Unconditional:
    """Keeps unconditional logits of one network, at most `most_bytes`; safe for several threads.

    Whoever changes the network's weights needs a new one.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], Tensor] = OrderedDict()

    def logits(self, target: str, emptied: tuple[str, ...], compute: Callable[[], Tensor]) -> Tensor:
        """Logits (n, V) of all n tokens of `target` where only the `emptied` sequences are left of the inputs.

        `compute` makes them the first time, and again after others took their place.
        """
        with self._lock:
            key = target, emptied
            if key not in self._kept:
                self._kept[key] = compute()
            self._kept.move_to_end(key)
            found = self._kept[key]
            while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self._most_bytes:
                self._kept.popitem(last=False)
        return found
