"""The life of API keys: from the first on the door is closed to all others, also when the last one has gone."""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from anyseek.api.cli import run
from anyseek.api.http.security import Scope, create_key
from anyseek.search.catalogue import api_keys
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import ApiKeyRow
from anyseek.search.catalogue.values import now
from tests.api.conftest import StartService


def status(url: str, key: str | None = None) -> int:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return httpx.get(f"{url}/v1/collections", headers=headers).status_code


def rows(database: Database) -> dict[str, ApiKeyRow]:
    with database.read() as session:
        found = {row.name: row for row in api_keys.list_all(session)}
        session.expunge_all()
    return found


def test_revoking_the_last_key_closes_the_door(start_service: StartService) -> None:
    url, service = start_service()
    database = service.runtime.database
    assert status(url) == 200
    key = create_key(database, "only", Scope.ADMIN)
    assert (status(url), status(url, key)) == (401, 200)
    with database.write() as session:
        api_keys.revoke(session, "only")
    assert (status(url), status(url, key)) == (401, 401)
    assert status(url, create_key(database, "another", Scope.READ)) == 200


def test_a_key_that_another_process_revokes_opens_nothing_from_then_on(start_service: StartService) -> None:
    url, service = start_service()
    keys = [create_key(service.runtime.database, name, Scope.ADMIN) for name in ("gone", "kept")]
    assert [status(url, key) for key in keys] == [200, 200]
    command = [sys.executable, "-m", "anyseek", "keys", "revoke", "gone"]
    environment = os.environ | {"ANYSEEK_HOME": str(service.runtime.settings.home)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert [status(url, key) for key in keys] == [401, 200]


def test_keys_are_read_again_only_after_something_was_committed(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, service = start_service()
    database, looks = service.runtime.database, list[None]()
    key = create_key(database, "only", Scope.ADMIN)
    status(url, key)  # its use is noted
    look = api_keys.list_all

    def count(session: Session) -> Sequence[ApiKeyRow]:
        looks.append(None)
        return look(session)

    monkeypatch.setattr(api_keys, "list_all", count)
    assert [status(url, key) for _ in range(5)] == [200] * 5
    assert len(looks) == (1 if database.version() is not None else 5)
    with database.write() as session:
        api_keys.revoke(session, "only")
    assert status(url, key) == 401


def test_a_key_that_is_held_expires(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> None:
    url, service = start_service()
    key = create_key(service.runtime.database, "brief", Scope.ADMIN, timedelta(days=1))
    assert [status(url, key) for _ in range(2)] == [200, 200]
    later = now() + timedelta(days=2)
    monkeypatch.setattr(api_keys, "now", lambda: later)
    assert status(url, key) == 401


def test_a_key_expires(start_service: StartService) -> None:
    url, service = start_service()
    database = service.runtime.database
    key = create_key(database, "brief", Scope.ADMIN, timedelta(days=1))
    assert status(url, key) == 200
    with database.write() as session:
        session.execute(update(ApiKeyRow).values(expires_at=now() - timedelta(seconds=1)))
    assert (status(url, key), status(url)) == (401, 401)


def test_the_use_of_a_key_is_noted_once_an_hour(start_service: StartService) -> None:
    url, service = start_service()
    database = service.runtime.database
    key = create_key(database, "used", Scope.READ)
    create_key(database, "idle", Scope.READ)
    status(url, key)
    first = rows(database)["used"].last_used_at
    assert first is not None
    status(url, key)
    assert rows(database)["used"].last_used_at == first
    with database.write() as session:
        session.execute(update(ApiKeyRow).values(last_used_at=now() - timedelta(hours=2)))
    before = rows(database)["idle"].last_used_at
    status(url, key)
    assert rows(database)["used"].last_used_at != before
    assert rows(database)["idle"].last_used_at == before


def test_keys_are_listed_with_their_end_and_last_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("ANYSEEK_HOME", str(home))
    assert run(["keys", "create", "a", "--scope", "read", "--days", "90"]) == 0
    assert home.stat().st_mode & 0o777 == 0o700, "nobody else reads the data directory"
    assert run(["keys", "create", "b", "--scope", "read"]) == 0
    assert run(["keys", "revoke", "b"]) == 0
    capsys.readouterr()
    assert run(["keys", "list"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert f"active until {now() + timedelta(days=90):%Y-%m-%d}  never used" in first
    assert "revoked" in second
