"""`python -m tests.adversary`: every attack of docs/security.md again, on loopback, and a table of what came of each.

Arguments go to pytest. Exits with 1 if any of them succeeded.
"""

import os
import subprocess
import sys

from tests.adversary.attacks import ATTACKS, ROOT, Attack


def _held(attack: Attack, arguments: list[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", *arguments, *(f"tests/{test}" for test in attack.tests)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, check=False)
    lines = done.stdout.strip().splitlines() or ["nothing said"]
    sys.stdout.write(f"{'held' if done.returncode == 0 else 'FAILED'}  {attack.name}: {lines[-1].strip()}\n")
    if done.returncode:
        sys.stdout.write(f"{done.stdout}{done.stderr}\n")
    sys.stdout.flush()
    return done.returncode == 0


def main() -> int:
    held = [_held(attack, sys.argv[1:]) for attack in ATTACKS]
    sys.stdout.write(f"{sum(held)} of {len(held)} attacks held\n")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
