"""Pull a published checkpoint, the tokenizers that it needs and the text vocabulary. Uses torch only to check headers.

Run the pull again to resume it after an interruption; until it completes, the checkpoint counts as missing.
"""

from collections.abc import Sequence
from pathlib import Path

from anyseek.model.downloads.hub import RemoteFile, fetch, remote_files
from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.fourm.published.installing import Say, check_space, gathering, install
from anyseek.model.fourm.published.names import VOCABULARY, VOCABULARY_URL, Published, published
from anyseek.model.fourm.published.store import (
    CONFIG_FILE,
    MODEL_FILE,
    VOCABULARY_FILE,
    Record,
    State,
    describe,
    incoming_folder,
    installed,
    state_of,
)

_TIMEOUT = 60.0  # seconds without a byte


def needed(name: str, home: Path) -> list[str]:
    """What pulling `name` has to install: itself, its tokenizers and the vocabulary, less what is installed.

    Raises `UnknownModel`.
    """
    if name == VOCABULARY:
        every = [VOCABULARY]
    else:
        row = published(name)
        every = [row.name, *row.needs, *([VOCABULARY] if row.needs else [])]
    return [part for part in every if state_of(part, home) is not State.INSTALLED]


def pull_published(
    names: Sequence[str],
    home: Path,
    say: Say,
    endpoint: str | None = None,
    vocabulary_url: str = VOCABULARY_URL,
) -> list[Record]:
    """Fetch checkpoints from the Hub and the vocabulary from `vocabulary_url`, check and install them.

    `endpoint` is another address of the Hub. Raises `DownloadFailed`, saying what to fetch by hand where the Hub
    cannot be reached, `WeightsCorrupt`, `ConfigInvalid`, `CheckpointMismatch`; what was installed before stays.
    """
    rows = [published(name) for name in names if name != VOCABULARY]
    try:
        plan = {row: remote_files(row.repository, endpoint) for row in rows}
    except DownloadFailed as error:
        raise DownloadFailed(f"{error}\n{by_hand(names)}") from error
    missing = sum(file.missing_bytes(incoming_folder(row.name, home)) for row, files in plan.items() for file in files)
    check_space(missing, home)
    if missing:
        say(f"fetching {missing / 1e9:.2f} GB")
    records = [_pull_one(row, files, home, say) for row, files in plan.items()]
    return records + ([_pull_vocabulary(vocabulary_url, home, say)] if VOCABULARY in names else [])


def by_hand(names: Sequence[str]) -> str:
    """Which files to fetch on another machine, from where and into which folders, for `import_folder` to take."""
    lines = ["On a machine that has internet, fetch these into one folder, here called DIR:"]
    for name in names:
        if name == VOCABULARY:
            lines.append(f"  {VOCABULARY_URL} -> DIR/{VOCABULARY}.json")
            continue
        page = f"https://huggingface.co/{published(name).repository}"
        lines.append(f"  {page}: {MODEL_FILE}, and {CONFIG_FILE} if there is one -> DIR/{name}/")
    return "\n".join([*lines, "Bring DIR here and run `anyseek models import DIR`."])


def _pull_one(row: Published, files: Sequence[RemoteFile], home: Path, say: Say) -> Record:
    with gathering(row.name, home, say) as folder:
        if state_of(row.name, home) is State.INSTALLED:  # by the process that was waited for
            folder.rmdir()
            return installed(row.name, home)
        say(row.name)
        found = {file.name: fetch(file, folder) for file in files}
        return install(row.name, folder, found, f"{row.repository}@{files[0].commit}", home)


def _pull_vocabulary(url: str, home: Path, say: Say) -> Record:
    import httpx  # model is imported without it, too

    with gathering(VOCABULARY, home, say) as folder:
        path = folder / VOCABULARY_FILE
        try:
            answer = httpx.get(url, follow_redirects=True, timeout=_TIMEOUT).raise_for_status()
        except httpx.HTTPError as error:
            raise DownloadFailed(f"the vocabulary could not be fetched: {error}\n{by_hand([VOCABULARY])}") from error
        path.write_bytes(answer.content)
        return install(VOCABULARY, folder, {path.name: describe(path)}, url, home)
