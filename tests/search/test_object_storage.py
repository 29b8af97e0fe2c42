"""Object storage: what passes is tried again, what does not is one sentence, and no connection crosses a fork."""

import uuid
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from anyseek.search import object_storage
from anyseek.search.object_storage import Bucket, StorageRefused, StorageUnreachable

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setattr(object_storage, "PAUSES", (0.0, 0.0))
    return Bucket(f"memory://{uuid.uuid4().hex}")


class Failing:
    """A method of a file system that fails with these errors before it works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, *errors: Exception) -> None:
        self.calls = 0
        kind = fsspec.get_filesystem_class("memory")
        work = getattr(kind, method)

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls <= len(errors):
                raise errors[self.calls - 1]
            return work(*arguments, **options)

        monkeypatch.setattr(kind, method, call)


def test_what_passes_is_tried_again(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = Failing(monkeypatch, "pipe_file", TimeoutError(), ConnectionResetError("reset by peer"))
    bucket.write("a/b", b"data")
    assert (writing.calls, bucket.read("a/b")) == (3, b"data")


def test_what_lasts_is_one_sentence_and_passing_for_a_job(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Failing(monkeypatch, "cat_file", *[TimeoutError("timed\nout")] * 5)
    with pytest.raises(StorageUnreachable, match=f"^{bucket.url} cannot be reached: timed$") as caught:
        bucket.read("a/b")
    assert isinstance(caught.value, OSError), "jobs wait after an OSError"
    assert reading.calls == 3


@pytest.mark.parametrize(("error", "refusal"), [(PermissionError("403"), StorageRefused), (FileNotFoundError(), None)])
def test_what_cannot_pass_is_tried_once(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, error: Exception, refusal: type[Exception] | None
) -> None:
    reading = Failing(monkeypatch, "cat_file", error)
    with pytest.raises(refusal or FileNotFoundError):
        bucket.read("a/b")
    assert reading.calls == 1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageRefused, match=r"needs more packages: pip install 'anyseek\[sources\]'"):
        Bucket("gs://bucket/prefix").read("a")


def test_a_bucket_that_is_not_there(s3: Callable[[str, Mapping[str, bytes]], str], tmp_path: Path) -> None:
    bucket = Bucket("s3://not-there/prefix")
    with pytest.raises(StorageRefused, match="s3://not-there/prefix cannot be written"):
        bucket.write("a", b"data")
    assert bucket.objects("a") == []


@pytest.mark.slow
def test_large_files_go_up_and_down(s3: Callable[[str, Mapping[str, bytes]], str], tmp_path: Path) -> None:
    """Above the size that one request may have, in parts."""
    path, again = tmp_path / "large", tmp_path / "again"
    with path.open("wb") as file:
        for number in range(130):
            file.write(number.to_bytes(1, "big") * 1_000_000)
    bucket = Bucket(s3("large", {}))
    bucket.upload("a/b", path)
    assert (bucket.info("a/b").size, bucket.folders(""), bucket.folders("a")) == (130_000_000, ["a"], [])
    with bucket.stream("a/b", 130_000_000) as file:
        file.seek(128_999_999)
        assert file.read(2) == bytes([128, 129])
    bucket.download("a/b", again)
    assert again.read_bytes() == path.read_bytes()


def read_in_child(bucket: Bucket) -> None:
    assert bucket.read("a") == b"data"


def test_no_connection_crosses_a_fork(s3: Callable[[str, Mapping[str, bytes]], str]) -> None:
    bucket = Bucket(s3("forked", {"a": b"data"}))
    assert bucket.read("a") == b"data"
    process = get_context("fork").Process(target=read_in_child, args=(bucket,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
