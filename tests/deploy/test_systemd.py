"""The units of systemd start commands that are there, with settings that are known."""

import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from anyseek.search.settings import Settings, variables
from tests.test_compose import check_command

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))


def service(unit: Path) -> dict[str, str]:
    parser = ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return dict(parser["Service"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_it_starts_a_command_that_is_there_with_settings_that_are_known(unit: Path) -> None:
    program, *arguments = shlex.split(service(unit)["ExecStart"].replace("%i", "1"))
    assert program == "/opt/anyseek/bin/anyseek"
    check_command(arguments)
    known = {name for name, _ in variables(Settings(Path("/data")))}
    assert set(re.findall(r"ANYSEEK_\w+", service(unit)["Environment"])) <= known


def test_a_worker_is_stopped_by_its_first_process() -> None:
    """As docs/workers.md says: a process that is itself killed counts as a death."""
    assert service(FOLDER / "anyseek-worker@.service")["KillMode"] == "mixed"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_it(unit: Path, tmp_path: Path) -> None:
    """With a program that is there in place of ours."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/anyseek/bin/anyseek", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert said == []
