"""Archives that were made to do harm, given to `anyseek restore`: nothing is written outside, nothing is restored.

And what is left of an installation whose disk went read-only: it can still be backed up to another one.
"""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from anyseek.api import cli
from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.backup.read import restore
from anyseek.search.backup.write import backup
from anyseek.search.errors import AnyseekError
from anyseek.search.settings import Settings
from tests.faults.disk import NoSmallDisk, small_disk
from tests.indexer.pictures import folder_of
from tests.search.gallery import WordsEmbedder, make_collection, open_catalogue, put


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A backup of an installation with a few items."""
    settings, database = open_catalogue(tmp_path / "source")
    embedder = WordsEmbedder()
    put(database, make_collection(database, embedder), embedder, ["item 1", "item 2"])
    backup(database, FolderAssetStore(settings.assets), tmp_path / "sound.tar")
    database.close()
    return tmp_path / "sound.tar"


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 5) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, target, size if kind == tarfile.REGTYPE else 0
    return found


_EVIL = {
    "up": _member("../../outside"),
    "absolute": _member("/tmp/anyseek-outside"),
    "up from the stored files": _member("assets/../../../outside"),
    "a link": _member("assets/aa/link", tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": _member("assets/aa/link", tarfile.LNKTYPE, "../../../etc/passwd"),
    "a device": _member("assets/null", tarfile.CHRTYPE),
    "a pipe": _member("assets/pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("evil", _EVIL)
@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_member_that_leads_elsewhere_is_refused(sound: Path, tmp_path: Path, evil: str, place: int) -> None:
    hostile, target = tmp_path / "hostile.tar", tmp_path / "target"
    with tarfile.open(sound) as read, tarfile.open(hostile, "w") as written:
        members = [(member, read.extractfile(member)) for member in read]
        members.insert(len(members) if place < 0 else place, (_EVIL[evil], io.BytesIO(b"gotit")))
        for member, content in members:
            written.addfile(member, content)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(AnyseekError):
        restore(Settings(target), hostile)
    made = {path for path in set(tmp_path.rglob("*")) - before if target not in path.parents and path != target}
    assert made == set()
    assert not Path("/tmp/anyseek-outside").exists()
    assert not any(path.is_symlink() for path in target.rglob("*"))


def test_a_member_that_claims_to_be_larger_than_any_disk_is_refused(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.tar"
    hostile.write_bytes(_member("catalogue", size=1 << 60).tobuf(tarfile.GNU_FORMAT) + b"x" * 1_024)
    with pytest.raises(AnyseekError):
        restore(Settings(tmp_path / "target"), hostile)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk"):
            yield tmp_path / "disk"
    except NoSmallDisk as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("stored", [True, False], ids=["stored files", "no stored files"])
def test_a_home_that_cannot_be_written_is_backed_up_to_another_disk(
    disk: Path, tmp_path: Path, stored: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = folder_of(tmp_path / "photos", range(3 if stored else 0))
    monkeypatch.setenv("ANYSEEK_HOME", str(disk / "home"))
    monkeypatch.setenv("ANYSEEK_MODEL", "hashing")
    assert cli.run(["index", str(photos), "--collection", "a"]) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert cli.run(["backup", str(tmp_path / "kept.tar")]) == 0, capsys.readouterr().err
    assert cli.run(["backup", str(disk / "kept.tar")]) == 1
    assert capsys.readouterr().err.endswith("cannot be written\n")
    restored = restore(Settings(tmp_path / "restored"), tmp_path / "kept.tar")
    assert (restored.rows["items"], restored.assets) == ((3, 3) if stored else (0, 0))
