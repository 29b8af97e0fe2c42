"""`python deploy/lock.py`: renew `requirements.lock`, the versions and hashes of all that a deployment installs.

uv finds the versions, for the extras of the Dockerfile. Only hashes of wheels that Linux with CPython 3.11 can use are
kept, on x86-64 and ARM, and no source archives: nothing is built where it is deployed. `--check` installs nothing and
writes nothing; it has pip find every file of the lock again by its hash.
"""

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.markers import Marker
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements.lock"
EXTRAS = ("cpu", "services", "sources")
PYTHON = "3.11"
MACHINES = ("x86_64", "aarch64")
_HEAD = f"""# Made by `make lock` for Linux with CPython {PYTHON} and the extras {", ".join(EXTRAS)}. To deploy:
#   pip install --require-hashes -r requirements.lock && pip install --no-deps anyseek-*.whl
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="have pip find every file again, and write nothing")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions, not those of the lock")
    arguments = parser.parse_args()
    if arguments.check:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--require-hashes", "-q"]
        return subprocess.run([*command, "--only-binary", ":all:", "-r", str(LOCK)], check=False).returncode
    LOCK.write_text(_HEAD + "".join(_lines(_resolved(arguments.upgrade))))
    return 0


def _resolved(upgrade: bool) -> list[dict[str, Any]]:
    """The packages of uv's lock, in PEP 751's form."""
    with TemporaryDirectory() as folder:
        made = Path(folder) / "pylock.toml"
        command = [
            "uv",
            "pip",
            "compile",
            str(ROOT / "pyproject.toml"),
            "--universal",
            "--python-version",
            PYTHON,
            "-q",
        ]
        command += ["-c", str(ROOT / "constraints.txt"), "--format", "pylock.toml", "-o", str(made)]
        command += [] if upgrade or not LOCK.exists() else ["-c", str(_versions(Path(folder)))]
        subprocess.run([*command, *(f"--extra={extra}" for extra in EXTRAS)], check=True)
        packages: list[dict[str, Any]] = tomllib.loads(made.read_text())["packages"]
        return packages


def _versions(folder: Path) -> Path:
    """The versions of the present lock, as constraints."""
    kept = folder / "versions.txt"
    lines = (line.partition(" ;")[0].rstrip(" \\") for line in LOCK.read_text().splitlines() if "==" in line[:80])
    kept.write_text("\n".join(line for line in lines if not line.startswith(("#", " "))))
    return kept


def _lines(packages: list[dict[str, Any]]) -> Iterator[str]:
    for package in packages:
        if not any(_is_wanted(package, machine) for machine in MACHINES):
            continue
        marker = "" if all(_is_wanted(package, machine) for machine in MACHINES) else f" ; {_where(package)}"
        hashes = sorted(wheel["hashes"]["sha256"] for wheel in package.get("wheels", []) if _fits(wheel))
        if not hashes:
            sys.exit(f"{package['name']} {package['version']} has no wheel for Linux and CPython {PYTHON}")
        given = "".join(f" \\\n    --hash=sha256:{each}" for each in hashes)
        yield f"{package['name']}=={package['version']}{marker}{given}\n"


def _is_wanted(package: Mapping[str, Any], machine: str) -> bool:
    """Whether it is installed on Linux with this processor."""
    environment = {"python_full_version": f"{PYTHON}.9", "python_version": PYTHON, "sys_platform": "linux"}
    environment |= {"platform_system": "Linux", "platform_machine": machine, "implementation_name": "cpython"}
    environment |= {"platform_python_implementation": "CPython", "os_name": "posix"}
    return "marker" not in package or Marker(package["marker"]).evaluate(environment)


def _where(package: Mapping[str, Any]) -> str:
    (machine,) = (machine for machine in MACHINES if _is_wanted(package, machine))
    return f'platform_machine == "{machine}"'


def _fits(wheel: Mapping[str, Any]) -> bool:
    name = unquote(Path(urlsplit(wheel.get("url", "")).path).name) or wheel["name"]
    return any(_is_usable(tag) for tag in parse_wheel_filename(name)[3])


def _is_usable(tag: Tag) -> bool:
    pure = tag.interpreter in ("py3", "py2.py3", "cp311", "py311") and tag.abi == "none"
    stable = tag.abi == "abi3" and tag.interpreter.removeprefix("cp3").isdigit()
    limited = stable and int(tag.interpreter.removeprefix("cp3")) <= int(PYTHON.partition(".")[2])
    fits = pure or limited or (tag.interpreter, tag.abi) == ("cp311", "cp311")
    linux = tag.platform.startswith(("manylinux", "linux")) and tag.platform.endswith(MACHINES)
    return fits and (tag.platform == "any" or linux)


if __name__ == "__main__":
    sys.exit(main())
