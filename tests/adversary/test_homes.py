"""Data directories whose names would mean something else in the address of a database."""

import stat
from pathlib import Path

import pytest

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime


@pytest.mark.parametrize("name", ["q?one", "a#b", "50%41", "a b@c:d", "é"])
def test_the_catalogue_is_in_its_home_and_nobody_elses(tmp_path: Path, name: str) -> None:
    home, other = tmp_path / name, tmp_path / f"{name}-other"
    with Runtime.open(Settings(home), "hashing") as runtime:
        with runtime.database.write() as session:
            collections.create(session, "mine", "hashing", runtime.embedder.spaces.values())
        files = [path for path in home.iterdir() if path.name.startswith("catalogue.sqlite")]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files if "lock" not in path.name} == {0o600}
    assert (home / "catalogue.sqlite").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with Runtime.open(Settings(other), "hashing") as runtime, runtime.database.read() as session:
        assert collections.list_all(session) == []
    assert Database(Settings(home).database_url).engine.url.database == str(home / "catalogue.sqlite")
