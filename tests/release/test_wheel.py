"""What a built wheel gives: one package with its types, the command, and programs that no neighbour breaks."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("user_program.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=300)
    (built,) = folder.glob("anyseek-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel and nothing else."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, timeout=300)
    return python


@pytest.fixture
def plain(python: Path, tmp_path: Path) -> dict[str, str]:
    """Variables by which that environment finds the packages that this one has, after its own."""
    (own,) = (python.parents[1] / "lib").glob("python*/site-packages")
    paths = [str(own), *(path for path in sys.path if "site-packages" in path)]
    return {
        "PYTHONPATH": ":".join(paths),
        "ANYSEEK_HOME": str(tmp_path / "home"),
        "ANYSEEK_MODEL": "hashing",
        "PATH": "/usr/bin:/bin",
    }


def test_it_has_one_package_and_its_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"anyseek", f"{wheel.name.split('-py3')[0]}.dist-info"}
    assert "anyseek/py.typed" in names


def test_the_package_and_the_command_work(wheel: Path, python: Path, plain: dict[str, str], tmp_path: Path) -> None:
    program = "import anyseek; print(anyseek.__file__, anyseek.__version__, anyseek.open_model('hashing').name)"
    file, version, model = said([str(python), "-c", program], tmp_path, plain).split()
    assert Path(file).is_relative_to(python.parents[1])
    assert (version, model) == (wheel.name.split("-")[1], "hashing")
    command = [str(python.with_name("anyseek")), "collections", "create", "photos"]
    assert said(command, tmp_path, plain).startswith("photos  0 items")


def test_a_users_program_is_typed(python: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "program.py"]
    done = subprocess.run(
        mypy, cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}, timeout=600
    )
    assert done.returncode == 0, done.stdout


def test_a_users_program_runs_beside_modules_of_the_same_names(
    python: Path, plain: dict[str, str], tmp_path: Path
) -> None:
    for name in ("search", "model", "api", "workers", "indexer", "migrations"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name}.py of the user was imported')\n")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
    found = said([str(python), str(program), str(tmp_path / "home")], tmp_path, plain)
    assert found.splitlines() == ["1 red 2025", "2 blue 2024", "3"]


def said(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """The output of a command."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout
