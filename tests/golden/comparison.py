"""Compare the outputs of a network with the recorded ones."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Values = Tensor | npt.NDArray[Any] | float


@dataclass
class Comparison:
    """All comparisons of one case.

    `max_abs_err` and `tolerance` are those of the float comparison that came nearest to failing (or failed worst).
    """

    max_abs_err: float = 0.0
    tolerance: float = 0.0
    integers_equal: bool = True
    complaints: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything was compared equal or close enough."""
        return not self.complaints

    def close(self, what: str, actual: Values, expected: Values, tolerance: float) -> None:
        """Floats must differ by at most `tolerance` everywhere; NaN differs from everything."""
        got, wanted = _array(actual).astype(np.float64), _array(expected).astype(np.float64)
        if got.size != wanted.size:
            self.complaints.append(f"{what} has shape {got.shape}, not {wanted.shape}")
            error = float("inf")
        else:
            error = float(np.nan_to_num(np.abs(got.reshape(wanted.shape) - wanted), nan=np.inf).max(initial=0.0))
        if error > tolerance:
            self.complaints.append(f"{what} differs by {error:.3g}, more than {tolerance:g}")
        if self.tolerance == 0.0 or error / tolerance > self.max_abs_err / self.tolerance:
            self.max_abs_err, self.tolerance = error, tolerance

    def equal(self, what: str, actual: Values, expected: Values, where: npt.NDArray[np.bool_] | None = None) -> None:
        """Integers, masks and names must be equal, at least at the places `where` says."""
        got, wanted = _array(actual), _array(expected)
        same = got.shape == wanted.shape
        if same:
            differing = got != wanted
            same = not differing[where if where is not None else ...].any()
        if not same:
            self.integers_equal = False
            self.complaints.append(f"{what} is not equal")

    def agree(self, what: str, same: bool, complaint: str) -> None:
        """A fact about names or shapes must hold; `complaint` says how it does not."""
        if not same:
            self.integers_equal = False
            self.complaints.append(f"{what}: {complaint}")


def _array(values: Values) -> npt.NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
