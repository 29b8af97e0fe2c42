"""Packages of data from npm, in pinned versions, fetched once. Nothing in them is installed or run."""

import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from model.data.errors import SourceUnavailable


def npm_json(package: str, files: Iterable[str], downloads: Path) -> dict[str, Any]:
    """JSON files of an npm package (`name@version`) by their path in it, fetched by `npm pack` unless that was done.

    Raises `SourceUnavailable` if npm is not installed, fails, or the package has no such file.
    """
    wanted = set(files)
    found: dict[str, Any] = {}
    try:
        with tarfile.open(_npm_archive(package, downloads)) as archive:
            for member in archive:
                name = member.name.partition("/")[2]  # all is below `package/`
                content = archive.extractfile(member) if name in wanted else None
                if content is not None:
                    found[name] = json.load(content)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise SourceUnavailable(f"{package} cannot be read: {error}; delete it, and it is fetched again") from error
    if missing := wanted - found.keys():
        raise SourceUnavailable(f"{package} has no file {min(missing)}")
    return found


def _npm_archive(package: str, downloads: Path) -> Path:
    folder = downloads / "npm" / re.sub(r"[^\w.-]+", "_", package)
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SourceUnavailable(f"npm is needed to fetch {package}, and it is not installed")
        _fetch_into(folder, [npm, "pack", "--silent", package])
    return next(folder.glob("*.tgz"))


def _fetch_into(folder: Path, command: list[str]) -> None:
    """Run a fetching command in a new folder that takes its place only when the command succeeded."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        work = Path(scratch) / "work"
        work.mkdir()
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not list(work.glob("*.tgz")):
            raise SourceUnavailable(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
        if not folder.exists():  # another process may have been faster
            work.rename(folder)
