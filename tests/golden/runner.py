"""Run all cases of a directory."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.errors import ModelError
from tests.golden.cases import Case, find_cases
from tests.golden.checkers import CheckOptions, all_checkers

# What an incomplete, damaged or ill-fitting case raises; anything else is a bug of a checker and ends the run.
_CASE_ERRORS = (
    ModelError,
    OSError,
    EOFError,
    KeyError,
    IndexError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class CaseReport:
    """How one case went; the numbers are None where it could not be run, `reason` is empty where it passed."""

    case: str
    max_abs_err: float | None
    integers_equal: bool | None
    tolerance: float | None
    ok: bool
    reason: str = ""

    def as_json(self) -> dict[str, object]:
        """The fields for a JSON line; `reason` only where there is one."""
        line: dict[str, object] = {
            "case": self.case,
            "max_abs_err": self.max_abs_err,
            "integers_equal": self.integers_equal,
            "tolerance": self.tolerance,
            "ok": self.ok,
        }
        return line | ({"reason": self.reason} if self.reason else {})


def check_directory(directory: Path, options: CheckOptions, only: str = "*") -> Iterator[CaseReport]:
    """Run the cases whose names match the glob `only`, one report each."""
    for case in find_cases(directory, only):
        yield check_case(case, options)


def check_case(case: Case, options: CheckOptions) -> CaseReport:
    """Run one case by the first checker that accepts it."""
    try:
        checker = next((checker for checker in all_checkers() if checker.accepts(case)), None)
        if checker is None:
            return _not_run(case, "there is no checker for this kind of case")
        result = checker.check(case, options)
    except _CASE_ERRORS as error:
        return _not_run(case, f"{type(error).__name__}: {error}")
    max_abs_err = result.max_abs_err if math.isfinite(result.max_abs_err) else None
    reason = "; ".join(result.complaints)
    return CaseReport(case.name, max_abs_err, result.integers_equal, result.tolerance, result.ok, reason)


def _not_run(case: Case, reason: str) -> CaseReport:
    return CaseReport(case.name, None, None, None, ok=False, reason=reason)
