"""Files of snapshots: whole and true, or not used."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anyseek.search.errors import StoreCorrupt
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.spaces.local.snapshots import Requirements, file_checksum
from tests.search.memory_index import MemoryIndex

FILES = ("index", "header.json")
WANTED = Requirements(centre_version=1, fingerprint="f", compacted_seq=0, last_seq=100)


def filled(count: int = 5) -> FaissIndex:
    index = FaissIndex(4)
    vectors = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    index.upsert(np.arange(1, count + 1), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return index


def save(folder: Path, seq: int = 9, centre_version: int = 1, count: int = 5) -> Path:
    return snapshots.save(folder, filled(count).freeze(), seq, centre_version, "f")


def load(folder: Path, wanted: Requirements = WANTED) -> snapshots.Header | None:
    return snapshots.load(folder, FaissIndex(4), wanted)


def test_a_saved_index_is_loaded_with_what_it_knows_where_there_is_one(tmp_path: Path) -> None:
    assert load(tmp_path / "none") is None
    assert load(tmp_path) is None
    save(tmp_path)
    index = FaissIndex(4)
    header = snapshots.load(tmp_path, index, WANTED)
    assert (header.seq, header.count, header.fingerprint) == (9, 5, "f")
    assert index.count() == 5
    assert snapshots.load(tmp_path, MemoryIndex(4), WANTED) is None, "it is of another kind"


def test_the_newest_wanted_one_is_taken_by_number_not_by_name(tmp_path: Path) -> None:
    for seq in (9, 10, 100):
        save(tmp_path, seq)
    assert [snapshots.position_of(path)[0] for path in snapshots.list_snapshots(tmp_path)] == [9, 10, 100]
    header = load(tmp_path)
    assert header.seq == 100


@pytest.mark.parametrize(
    "change", [{"centre_version": 2}, {"fingerprint": "other"}, {"compacted_seq": 10}, {"last_seq": 8}]
)
def test_one_of_another_state_is_not_used(tmp_path: Path, change: dict, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path)
    assert load(tmp_path, replace(WANTED, **change)) is None
    assert caplog.records[0].levelno == logging.WARNING


EVERY_DAMAGE = [
    *(f"{verb} {name} {where}" for verb in ("flip", "cut") for name in FILES for where in ("first", "middle", "last")),
    *(f"remove {name}" for name in FILES),
]


def damage(path: Path, what: str) -> None:
    verb, name, *where = what.split()
    file = path / name
    if verb == "remove":
        file.unlink()
        return
    data = bytearray(file.read_bytes())
    position = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}[where[0]]
    if verb == "cut":
        file.write_bytes(data[:position])
    else:
        data[position] ^= 1
        file.write_bytes(data)


@pytest.mark.parametrize("what", EVERY_DAMAGE)
def test_a_damaged_one_says_so_and_is_passed_over_for_an_older_one(tmp_path: Path, what: str) -> None:
    save(tmp_path, seq=5)
    path = save(tmp_path, seq=9)
    damage(path, what)
    with pytest.raises((StoreCorrupt, FileNotFoundError)):
        snapshots.check_file(path, snapshots.read_header(path))
    header = load(tmp_path)
    assert header.seq == 5


def test_a_header_moved_to_another_number_or_with_a_wrong_count_is_not_believed(tmp_path: Path) -> None:
    path = save(tmp_path, seq=5).rename(tmp_path / "9-1")
    assert load(tmp_path) is None
    path = path.rename(tmp_path / "5-1")
    assert load(tmp_path) is not None
    (path / "header.json").write_bytes(snapshots._encode(replace(snapshots.read_header(path), count=6)))
    assert load(tmp_path) is None


def test_pruning_keeps_the_newest_and_nothing_of_killed_writers(tmp_path: Path) -> None:
    kept = [save(tmp_path, seq) for seq in (1, 2, 3, 4)][2:]
    shutil.copytree(kept[0], tmp_path / ".tmp-killed")
    (tmp_path / ".tmp-killed" / "header.json").unlink()
    assert len(snapshots.list_snapshots(tmp_path)) == 4
    snapshots.prune(tmp_path)
    assert snapshots.list_snapshots(tmp_path) == sorted(tmp_path.iterdir()) == kept


def test_saving_again_replaces_a_damaged_one(tmp_path: Path) -> None:
    damage(save(tmp_path), "flip index middle")
    save(tmp_path)
    assert load(tmp_path) is not None


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anyseek.model.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_checksum_tells_every_bit(tmp_path: Path) -> None:
    data, sums = bytearray((1 << 20) + 100), set()
    for place in (0, 1 << 20, len(data) - 1):
        (tmp_path / "file").write_bytes(data)
        sums.add(file_checksum(tmp_path / "file"))
        data[place] ^= 1
    (tmp_path / "file").write_bytes(data + b"\0")
    assert len(sums | {file_checksum(tmp_path / "file")}) == 4
