"""torchvision beside a torch that its library does not load with."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
import torch
from anyseek.model.openclip.embedder import define_missing_operators, library_loads
define_missing_operators()
define_missing_operators()
print(library_loads(), hasattr(torch.ops.torchvision, "nms"), hasattr(torch.ops.torchvision, "qnms"))
"""


def _run(program: str, *first: Path) -> str:
    path = [str(folder) for folder in (*first, *(entry for entry in sys.path if entry))]
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def torchvision(tmp_path: Path) -> Path:
    """A package of that name without its library."""
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").touch()
    return folder


def test_a_library_that_loads_is_left_alone(torchvision: Path) -> None:
    built = Path(str(np._core._multiarray_umath.__file__))  # type: ignore[attr-defined]
    shutil.copy(built, torchvision / "_C.so")
    assert _run(PROGRAM, torchvision.parent) == "True False False"


def test_a_library_that_does_not_load_is_made_up_for(torchvision: Path) -> None:
    (torchvision / "_C.so").write_bytes(b"no library")
    assert _run(PROGRAM, torchvision.parent) == "False True True"


def test_a_missing_library_too(torchvision: Path) -> None:
    assert _run(PROGRAM, torchvision.parent) == "False True True"


def test_the_installed_torchvision_can_be_imported() -> None:
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    program = "from anyseek.model.openclip.embedder import define_missing_operators\ndefine_missing_operators()\n"
    assert _run(f"{program}import torchvision.transforms; print('imported')") == "imported"
