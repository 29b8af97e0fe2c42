"""The checkers, one file per kind of case. To add a kind, add a file here with a `CHECKER`."""

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.golden.cases import Case
from tests.golden.comparison import Comparison


@dataclass(frozen=True)
class CheckOptions:
    """Options that the cases do not contain: `vocabulary` is the text tokenizer's file."""

    vocabulary: Path | None = None


class Checker(Protocol):
    """Runs one kind of case."""

    def accepts(self, case: Case) -> bool:
        """Whether the case is of this kind, judged by its manifest and content."""
        ...

    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compute what was recorded and compare. Raises `ModelError` where the case cannot be run."""
        ...


def all_checkers() -> list[Checker]:
    """The `CHECKER` of every module of this package."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return [importlib.import_module(f"{__name__}.{name}").CHECKER for name in names]
