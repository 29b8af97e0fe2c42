"""Parameters that stay as they began while what is new beside them is trained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class Frozen:
    """Parameters by name that stay as they began until step `until` (from 0); none if that is 0."""

    names: frozenset[str] = field(default_factory=frozenset)
    until: int = 0

    @contextmanager
    def left_out(self, parameters: Mapping[str, nn.Parameter], step: int) -> Iterator[None]:
        """Inside, frozen parameters have no gradient, so that neither its norm nor the optimiser knows of them.

        Neither their moments nor the count of their updates change: the optimiser begins with them at the switch.
        """
        held = {parameters[name]: parameters[name].grad for name in self.names} if step < self.until else {}
        for parameter in held:
            parameter.grad = None
        try:
            yield
        finally:
            for parameter, gradient in held.items():
                parameter.grad = gradient
