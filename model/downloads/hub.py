"""List and fetch single files from the Hugging Face Hub, resuming interrupted downloads.

No other module uses `huggingface_hub`. Its own `hf_hub_download` starts over in every process, so a file of several
gigabytes would never arrive over an unreliable connection. Its `http_get` continues from the bytes already on disk.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.errors import WeightsCorrupt
from anyseek.model.files import move_into_place
from anyseek.model.fourm.published.store import CONFIG_FILE, MODEL_FILE, InstalledFile, describe

_SHA256, _GIT_SHA1 = 64, 40  # hex digits


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository at one commit. `checksum` is the sha256 of a large file, git's sha1 of a small one."""

    repository: str
    name: str
    commit: str
    checksum: str
    size: int
    url: str

    def partial_file(self, folder: Path) -> Path:
        """The file of its first bytes, until all have arrived."""
        return folder / f"{self.name}.{self.checksum[:16]}.part"

    def missing_bytes(self, folder: Path) -> int:
        """The number of bytes still to be fetched into `folder`."""
        if (folder / self.name).is_file():
            return 0
        part = self.partial_file(folder)
        return max(self.size - part.stat().st_size, 0) if part.exists() else self.size


def remote_files(repository: str, endpoint: str | None = None) -> list[RemoteFile]:
    """The files of a published checkpoint on the Hub: its weights, and `config.json` if there is one.

    Nothing is fetched but their sizes and checksums. `endpoint` is another address of the Hub. Raises
    `DownloadFailed`.
    """
    weights = _look_up(repository, MODEL_FILE, endpoint)
    if weights is None:
        raise DownloadFailed(f"the repository {repository} on the Hub has no {MODEL_FILE}")
    config = _look_up(repository, CONFIG_FILE, endpoint)
    return [weights] if config is None else [config, weights]


def remote_file(repository: str, name: str, revision: str, endpoint: str | None = None) -> RemoteFile:
    """A file of a repository at a commit; only its size and checksum are fetched. Raises `DownloadFailed`."""
    file = _look_up(repository, name, endpoint, revision)
    if file is None:
        raise DownloadFailed(f"the repository {repository} on the Hub has no {name} at {revision}")
    return file


def fetch(file: RemoteFile, folder: Path) -> InstalledFile:
    """Fetch a file into `folder` and check it. What is there of it already is not fetched again.

    The file appears under its name only when it is whole and right. Raises `DownloadFailed` where the connection
    breaks (what came is kept), `WeightsCorrupt` where its checksum is wrong (what came is removed).
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    target, part = folder / file.name, file.partial_file(folder)
    if not target.is_file():
        with part.open("ab") as out, _hub_errors(f"{file.name} of {file.repository}"):
            if out.tell() > file.size:
                out.truncate(0)
            if out.tell() < file.size:
                http_get(file.url, out, resume_size=out.tell(), headers=build_hf_headers(), expected_size=file.size)
        move_into_place(part, target)
    fetched = describe(target)
    checksum = fetched.sha256
    if len(file.checksum) != _SHA256:  # git's
        data = target.read_bytes()
        checksum = hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
    if checksum != file.checksum:
        target.unlink()
        raise WeightsCorrupt(
            f"{file.name} of {file.repository} does not have the checksum {file.checksum} that the Hub states; "
            "it was removed, so run the command again"
        )
    return fetched


def _look_up(repository: str, name: str, endpoint: str | None, revision: str | None = None) -> RemoteFile | None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    label = f"{name} of {repository}"
    with _hub_errors(label):
        try:
            metadata = get_hf_file_metadata(hf_hub_url(repository, name, revision=revision, endpoint=endpoint))
        except EntryNotFoundError:
            return None
    if metadata.commit_hash is None or metadata.etag is None or metadata.size is None:
        raise DownloadFailed(f"the Hub did not state commit, checksum and size of {label}")
    if len(metadata.etag) not in (_SHA256, _GIT_SHA1):
        raise DownloadFailed(f"the Hub states {metadata.etag!r} for {label}, which is not a checksum")
    url = hf_hub_url(repository, name, revision=metadata.commit_hash, endpoint=endpoint)
    return RemoteFile(repository, name, metadata.commit_hash, metadata.etag, metadata.size, url)


@contextmanager
def _hub_errors(label: str) -> Iterator[None]:
    """Turn errors of the Hub's library into `DownloadFailed`; errors of the disk, which have a number, pass."""
    from huggingface_hub.errors import HfHubHTTPError

    # Of the HTTP client, which differs from version to version.
    client_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except (OSError, client_error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DownloadFailed(f"the Hub did not deliver {label}: {reason}") from error
