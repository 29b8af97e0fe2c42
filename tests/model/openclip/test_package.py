"""torchvision beside a torch that its library does not load with."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

# What torchvision does when it is imported: it describes operators that its library should have registered.
TORCHVISION = """
import torch
for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{name}")(lambda *given: None)
"""
PROGRAM = """
from anyseek.model.openclip.embedder import define_missing_operators
define_missing_operators()
define_missing_operators()
import torchvision
print("imported")
"""


@pytest.mark.parametrize("is_installed", [False, True])
def test_torchvision_can_be_imported_without_its_library(tmp_path: Path, is_installed: bool) -> None:
    if is_installed and importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    path = [entry for entry in sys.path if entry]
    if not is_installed:
        (tmp_path / "torchvision.py").write_text(TORCHVISION)
        path.insert(0, str(tmp_path))
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{PROGRAM}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "imported", done.stderr
