"""schemathesis on the service's own description, `/openapi.json`, in a process of its own."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.sent import MAX_SECONDS

_ROOT = Path(__file__).parents[2]
_OPERATIONS = 41


@dataclass(frozen=True)
class Described:
    """What schemathesis said: how many requests it made, whether all was well, and its whole report."""

    requests: int
    is_well: bool
    report: str


def run_described(url: str, seed: int, requests: int, seconds: int) -> Described:
    """Ask each operation with made examples: sound ones, and ones that the description forbids."""
    examples = max(1, requests // 2 // _OPERATIONS)  # its phase of coverage makes about as many again
    command = [
        sys.executable,
        "-c",
        "from schemathesis.cli import schemathesis; schemathesis()",
        "run",
        f"{url}/openapi.json",
    ]
    command += ["--phases", "examples,coverage,fuzzing", "--checks", "answers_well", "--max-examples", str(examples)]
    command += ["--seed", str(seed), "--request-timeout", str(MAX_SECONDS), "--generation-database", "none"]
    command += ["--no-color", "--warnings", "off", "--suppress-health-check", "all", "--output-sanitize", "false"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(_ROOT)}
    try:
        done = subprocess.run(
            command, env=environment, cwd=_ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Described(0, False, f"schemathesis did not end in {seconds} s")
    report = done.stdout + done.stderr
    counted = re.search(r"([\d,]+) generated", report)
    if counted is None:
        return Described(0, False, report)
    return Described(int(counted[1].replace(",", "")), done.returncode == 0, report)
