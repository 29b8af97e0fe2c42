"""What other programs may rely on: the names, that they come fast, and that a wheel has them."""

import inspect
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import anyseek

ROOT = Path(__file__).parents[2]
_HEAVY = ("torch", "numpy", "faiss", "sqlalchemy", "fastapi", "PIL", "pydantic")


def test_the_public_names_are_these() -> None:
    assert anyseek.__all__ == [
        "AnyseekError",
        "ApiError",
        "AsyncClient",
        "Attribute",
        "BadInput",
        "Client",
        "ClientError",
        "Collection",
        "Duplicates",
        "Failure",
        "Guess",
        "Hit",
        "Input",
        "Item",
        "Job",
        "JobEvent",
        "Map",
        "Model",
        "ModelError",
        "Part",
        "Predicted",
        "PredictedFile",
        "Predictions",
        "Query",
        "Quota",
        "Refusal",
        "Refused",
        "Results",
        "Retry",
        "Sample",
        "ServiceUnreachable",
        "Tuning",
        "__version__",
        "connect",
        "open_model",
    ]
    assert dir(anyseek) == sorted(anyseek.__all__)
    for name in anyseek.__all__:
        assert getattr(anyseek, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Service'"):
        _ = anyseek.Service  # type: ignore[attr-defined]


def test_every_public_class_and_function_is_documented() -> None:
    for name in anyseek.__all__:
        member = getattr(anyseek, name)
        if inspect.isclass(member) or inspect.isfunction(member):
            assert member.__doc__, name


def test_importing_it_imports_nothing_heavy() -> None:
    program = f"import sys, anyseek; anyseek.Client; print([m for m in {_HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_a_model_is_opened_by_name(tmp_path: Path) -> None:
    model = anyseek.open_model("hashing", tmp_path)
    (space,) = model.spaces
    vectors = model.embed([anyseek.Sample({"caption": "a red bicycle"})], [space])[space]
    assert vectors.shape == (1, model.spaces[space].dimension)
    with pytest.raises(anyseek.ModelError, match="no-such-model"):
        anyseek.open_model("no-such-model", tmp_path)


@pytest.mark.slow
def test_a_built_wheel_gives_the_package_and_the_command(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = tmp_path.glob("anyseek-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        folders = {name.split("/")[0] for name in archive.namelist()}
    assert folders == {"anyseek", f"{wheel.name.split('-py3')[0]}.dist-info"}
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", str(environment)], check=True, timeout=120)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", str(wheel)]
    subprocess.run(install, check=True, timeout=300)
    # The packages that this interpreter has, but Anyseek's own from the wheel: the folder of the wheel comes first.
    (own,) = (environment / "lib").glob("python*/site-packages")
    paths = ":".join([str(own), *(path for path in sys.path if "site-packages" in path)])
    program = "import anyseek; print(anyseek.__file__, anyseek.__version__, anyseek.open_model('hashing').name)"
    plain = {"PYTHONPATH": paths, "ANYSEEK_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [str(python), "-c", program], cwd=tmp_path, env=plain, capture_output=True, text=True, check=True, timeout=120
    )
    file, version, model = done.stdout.split()
    assert Path(file).is_relative_to(own)
    assert (version, model) == (wheel.name.split("-")[1], "hashing")
    command = [str(environment / "bin" / "anyseek"), "collections", "create", "photos"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=plain | {"ANYSEEK_MODEL": "hashing"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.startswith("photos  0 items")
