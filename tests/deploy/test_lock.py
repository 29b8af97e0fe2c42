"""requirements.lock has all that the project asks for, by version and hash, and names no place to get it from."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from deploy import lock

_ENTRY = re.compile(r"^([a-z0-9-]+)==(\S+)( ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE)
TEXT = lock.LOCK.read_text(encoding="utf-8")
PINNED = {entry[1]: Version(entry[2]) for entry in _ENTRY.finditer(TEXT)}
PROJECT = tomllib.loads((lock.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ASKED = [*PROJECT["dependencies"], *(each for extra in lock.EXTRAS for each in PROJECT["optional-dependencies"][extra])]


@pytest.mark.parametrize("asked", ASKED)
def test_what_the_project_asks_for_is_there(asked: str) -> None:
    requirement = Requirement(asked)
    assert PINNED[canonicalize_name(requirement.name)] in requirement.specifier, "run `make lock`"


def test_every_line_is_a_version_with_hashes() -> None:
    rest = _ENTRY.sub("", TEXT)
    assert [line for line in rest.splitlines() if not line.startswith("#")] == []
    assert len(PINNED) > len(ASKED)
    assert "://" not in TEXT


def test_constraints_agree() -> None:
    constraints = map(Requirement, (lock.ROOT / "constraints.txt").read_text().splitlines())
    pinned = {name: one for one in constraints if (name := canonicalize_name(one.name)) in PINNED}
    assert "torch" in pinned
    assert [name for name, one in pinned.items() if PINNED[name] not in one.specifier] == []


def test_the_image_is_made_of_it() -> None:
    dockerfile = (lock.ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert f"ARG EXTRAS={','.join(lock.EXTRAS)}" in dockerfile
    assert f"FROM python:{lock.PYTHON}-slim" in dockerfile
    assert "!requirements.lock" in (lock.ROOT / ".dockerignore").read_text()


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", True),
        ("a-1-cp39-abi3-manylinux2014_aarch64.whl", True),
        ("a-1-cp311-cp311-win_amd64.whl", False),
        ("a-1-cp312-cp312-manylinux_2_28_x86_64.whl", False),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", False),
    ],
)
def test_only_wheels_that_can_be_used_are_kept(name: str, fits: bool) -> None:
    assert lock._fits({"url": f"x:/{name}"}) is fits


def test_a_package_without_a_wheel_that_fits_is_refused() -> None:
    with pytest.raises(SystemExit, match="has no wheel"):
        list(lock._lines([{"name": "a", "version": "1", "wheels": []}]))


def test_a_package_for_one_processor_says_so() -> None:
    wheels = [{"url": "x:/a-1-py3-none-any.whl", "hashes": {"sha256": "0" * 64}}]
    package = {"name": "a", "version": "1", "wheels": wheels}
    (everywhere,) = lock._lines([package])
    assert ";" not in everywhere
    (somewhere,) = lock._lines([package | {"marker": "platform_machine == 'x86_64' and sys_platform == 'linux'"}])
    assert 'a==1 ; platform_machine == "x86_64"' in somewhere
    assert list(lock._lines([package | {"marker": "sys_platform == 'win32'"}])) == []
