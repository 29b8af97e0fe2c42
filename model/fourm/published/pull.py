"""Pull a published checkpoint, the tokenizers that it needs and the text vocabulary. Uses torch only to check headers.

Run the pull again to resume it after an interruption; until it completes, the checkpoint counts as missing.
"""

from collections.abc import Sequence
from pathlib import Path

from anyseek.model.downloads.hub import RemoteFile, fetch, remote_files
from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.fourm.published.names import VOCABULARY, VOCABULARY_URL, Published, published, with_dependencies
from anyseek.model.fourm.published.store import (
    VOCABULARY_FILE,
    Record,
    Say,
    State,
    check_space,
    describe,
    incoming_folder,
    install,
    installed,
    staging_folder,
    state_of,
)

OFFLINE = (
    "Without internet: pull on a machine that has it, and copy the folders below `models/` of its data directory here."
)
_TIMEOUT = 60.0  # seconds without a byte


def needed(name: str, home: Path) -> list[str]:
    """The names to install when `name` is pulled: itself, its tokenizers and the vocabulary, less what is installed.

    Raises `UnknownModel`.
    """
    return [part for part in with_dependencies(name) if state_of(part, home) is not State.INSTALLED]


def pull_published(
    names: Sequence[str],
    home: Path,
    say: Say,
    endpoint: str | None = None,
    vocabulary_url: str = VOCABULARY_URL,
) -> list[Record]:
    """Fetch checkpoints from the Hub and the vocabulary from `vocabulary_url`, check and install them.

    `endpoint` is another address of the Hub. Raises `DownloadFailed`, `WeightsCorrupt`, `ConfigInvalid`,
    `CheckpointMismatch`; what was installed before stays.
    """
    rows = [published(name) for name in names if name != VOCABULARY]
    try:
        plan = {row: remote_files(row.repository, endpoint) for row in rows}
    except DownloadFailed as error:
        raise DownloadFailed(f"{error}\n{OFFLINE}") from error
    missing = sum(file.missing_bytes(incoming_folder(row.name, home)) for row, files in plan.items() for file in files)
    check_space(missing, home)
    if missing:
        say(f"fetching {missing / 1e9:.2f} GB")
    records = [_pull_one(row, files, home, say) for row, files in plan.items()]
    return records + ([_pull_vocabulary(vocabulary_url, home, say)] if VOCABULARY in names else [])


def _pull_one(row: Published, files: Sequence[RemoteFile], home: Path, say: Say) -> Record:
    with staging_folder(row.name, home, say) as folder:
        if state_of(row.name, home) is State.INSTALLED:  # by the process that was waited for
            folder.rmdir()
            return installed(row.name, home)
        say(row.name)
        found = {file.name: fetch(file, folder) for file in files}
        return install(row.name, folder, found, f"{row.repository}@{files[0].commit}", home)


def _pull_vocabulary(url: str, home: Path, say: Say) -> Record:
    import httpx  # model is imported without it, too

    with staging_folder(VOCABULARY, home, say) as folder:
        path = folder / VOCABULARY_FILE
        try:
            answer = httpx.get(url, follow_redirects=True, timeout=_TIMEOUT).raise_for_status()
        except httpx.HTTPError as error:
            raise DownloadFailed(f"the vocabulary could not be fetched: {error}\n{OFFLINE}") from error
        path.write_bytes(answer.content)
        return install(VOCABULARY, folder, {path.name: describe(path)}, url, home)
