"""`benchmarks.search.clients` runs, with two services that take turns."""

import json

import pytest

from benchmarks.search import clients


@pytest.mark.slow
def test_two_services_take_turns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "--model",
        "hashing",
        "--items",
        "3",
        "--made",
        "1100",
        "--seconds",
        "0.1",
        "--rounds",
        "1",
        "--clients",
        "2",
        "--json",
    ]
    small += ["--asked", "captions,vectors,two-parts"]
    monkeypatch.setattr("sys.argv", ["clients", *small, "--against", str(clients.HERE)])
    clients.main()
    rows = json.loads(capsys.readouterr().out)
    assert [(row["service"], row["asked"], row["clients"]) for row in rows] == [
        (service, asked, 2) for asked in ("captions", "vectors", "two-parts") for service in ("this", "against")
    ]
    assert all(float(row["queries_per_second"].split()[0]) > 0 for row in rows)
    assert "| p50 ms |" in clients.as_table(rows)
