"""`python -m tests.release`: build sdist and wheel, install the wheel into an empty environment, and try it there.

The wheel is built from the sdist, so that both are tried. Neither the repository nor this environment can be seen from
where it is tried, and of pip's settings only those count that say how to reach packages. With `--pipx` the wheel is
installed as a user would by pipx, which is fetched. The two files are left in `dist/`, with an SBOM (CycloneDX) and the
licences of what is installed.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.release.smoke import plain_environment

_ROOT = Path(__file__).parents[2]


@click.command()
@click.option("--demo/--no-demo", default=True, show_default=True, help="Also index the demo, which takes minutes.")
@click.option("--pipx", is_flag=True, help="Install by pipx, into a home of its own.")
@click.option("--dist", type=click.Path(file_okay=False, path_type=Path), default=_ROOT / "dist")
def main(demo: bool, pipx: bool, dist: Path) -> None:
    """Build a release and try it."""
    shutil.rmtree(dist, ignore_errors=True)
    environment = plain_environment(_pip_settings() | os.environ)
    _run(sys.executable, "-m", "build", "--outdir", dist, _ROOT)
    (wheel,) = dist.glob("*.whl")
    with TemporaryDirectory(prefix="anyseek-release-") as folder:
        install = _install_by_pipx if pipx else _install
        programs = install(Path(folder), wheel, environment)
        smoke = shutil.copy(Path(__file__).with_name("smoke.py"), folder)
        options = ["--demo"] if demo else []
        _run(programs / "python", "-I", smoke, programs, Path(folder) / "home", *options, cwd=folder, env=environment)
        _describe(programs / "python", dist)
    for file in sorted(dist.iterdir()):
        click.echo(f"{file.name}: {file.stat().st_size:,} bytes")


def _pip_settings() -> dict[str, str]:
    """What pip's files set, as the variables that would: those of the user may say where packages are."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found = {}
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        section, _, key = name.partition(".")
        if equals and section in ("global", "install", "download"):
            found[f"PIP_{key.upper().replace('-', '_')}"] = str(ast.literal_eval(value)).strip()
    return found


def _install(folder: Path, wheel: Path, environment: Mapping[str, str]) -> Path:
    """By pip, into an empty environment in `folder`; returns where its programs are."""
    programs = folder / "environment" / "bin"
    venv.create(programs.parent, with_pip=True)
    wanted = ("-q", "-c", _ROOT / "constraints.txt", f"{wheel}[cpu]")
    _run(programs / "python", "-m", "pip", "install", *wanted, env=environment)
    return programs


def _install_by_pipx(folder: Path, wheel: Path, environment: Mapping[str, str]) -> Path:
    """By pipx, with everything of it in `folder`; returns where the programs of the environment are that it made."""
    own = folder / "pipx" / "bin"
    venv.create(own.parent, with_pip=True)
    _run(own / "python", "-m", "pip", "install", "-q", "pipx", env=environment)
    home = {"HOME": str(folder), "PIPX_HOME": str(folder / "home-of-pipx"), "PIPX_BIN_DIR": str(folder / "commands")}
    wanted = ("--python", sys.executable, f"--pip-args=-c {_ROOT / 'constraints.txt'}", f"{wheel}[cpu]")
    everywhere = environment | home | {"PATH": os.environ["PATH"]}
    _run(own / "python", "-m", "pipx", "install", *wanted, env=everywhere)
    _run(folder / "commands" / "anyseek", "models", "list", env=everywhere)
    return folder / "home-of-pipx" / "venvs" / "anyseek" / "bin"


def _describe(python: Path, dist: Path) -> None:
    """Write what is installed, as an SBOM and as a table of licences; name those with a copyleft."""
    sbom = ("environment", "--of", "JSON", "--output-reproducible", "-o", dist / "sbom.json", python)
    _run(sys.executable, "-m", "cyclonedx_py", *sbom)
    licences = [sys.executable, "-m", "piplicenses", f"--python={python}", "--from=mixed", "--format=markdown"]
    table = subprocess.run(licences, capture_output=True, text=True, check=True).stdout
    (dist / "licences.md").write_text(table)
    for line in table.splitlines():
        if re.search(r"GPL|GNU|MPL|Mozilla|CDDL|EPL|EUPL", line):
            click.echo(f"copyleft: {line}")


def _run(*command: object, cwd: str | None = None, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} {command[1]} {command[2]} failed")


if __name__ == "__main__":
    main()
