"""Apply each mutant of the table to a copy of the tree and run its tests: `make mutants`.

A mutant that no test detects survives, and the exit code is then 1.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
_TESTS_FAILED = 1  # pytest's exit code; others but 0 mean that the tests did not run


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        tree = _copy_tree(Path(folder))
        killed = sum([_is_killed(tree, mutant) for mutant in MUTANTS])
    sys.stdout.write(f"{killed} of {len(MUTANTS)} mutants killed\n")
    return 0 if killed == len(MUTANTS) else 1


def _copy_tree(tree: Path) -> Path:
    """Copy the tracked files of the working tree, links as links."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["cp", "-P", "--parents", "-t", tree, *tracked.decode().split("\0")[:-1]], cwd=ROOT, check=True)
    return tree


def _is_killed(tree: Path, mutant: Mutant) -> bool:
    """Whether the tests fail with the mutant. Raises `RuntimeError` if they cannot run or its line is gone."""
    path, started = tree / mutant.file, time.monotonic()
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.original) != 1:
        raise RuntimeError(f"{mutant.file} does not have {mutant.original!r} exactly once")
    path.write_text(text.replace(mutant.original, mutant.mutated), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-m", "not slow", "-p", "no:cacheprovider", mutant.tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    path.write_text(text, encoding="utf-8")
    if done.returncode not in (0, _TESTS_FAILED):
        raise RuntimeError(f"{mutant.tests} did not run: {done.stdout}{done.stderr}")
    killed = done.returncode == _TESTS_FAILED
    seconds = time.monotonic() - started
    sys.stdout.write(f"{'killed' if killed else 'SURVIVED':8} {seconds:5.1f} s  {mutant.name}\n")
    return killed


if __name__ == "__main__":
    sys.exit(main())
