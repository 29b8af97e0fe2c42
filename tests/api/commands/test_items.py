"""`anyseek items`: the same by the running service and in the data directory."""

import json
from functools import partial
from pathlib import Path

import pytest

from anyseek import Client
from tests.api.commands.conftest import Run


@pytest.fixture(params=["service", "directory"])
def ask(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> Run:
    """Runs a command on a collection of three items, by a service or without one."""
    home = tmp_path / "home"
    location = request.getfixturevalue("serving") if request.param == "service" else home
    with Client(location, patience=30, model="hashing") as client:
        if not any(row["name"] == "things" for row in client.collections()):
            client.create_collection("things")
        for name in ("a", "b", "c"):
            client.put_item("things", name, caption=f"the {name}", attributes={"n": ord(name)})
    return run if request.param == "service" else partial(run, ANYSEEK_HOME=str(home))


def test_items_are_listed_shown_changed_and_deleted(ask: Run) -> None:
    among = ("--collection", "things")
    assert ask("items", "list", *among).stdout == "a  the a\nb  the b\nc  the c\n"
    assert ask("items", "list", *among, "--where", "n >= 98", "--limit", "1").stdout == "b  the b\n"
    listed = [json.loads(line) for line in ask("items", "list", *among, "--json").stdout.splitlines()]
    assert listed[0] == json.loads(ask("items", "show", *among, "a").stdout)
    done = ask("items", "patch", *among, "a", "--attributes", '{"n": null, "tag": "x"}', "--etag", listed[0]["etag"])
    changed = json.loads(done.stdout)
    assert (changed["attributes"].get("n"), changed["attributes"]["tag"]) == (None, "x")
    again = ask("items", "patch", *among, "a", "--caption", "zebra", "--etag", listed[0]["etag"])
    assert again.returncode == 1
    assert "has changed since you read it" in again.stderr
    assert json.loads(ask("items", "patch", *among, "a", "--caption", "zebra").stdout)["caption"] == "zebra"
    assert json.loads(ask("query", *among, "zebra", "-k", "1", "--json").stdout)["hits"][0]["key"] == "a"
    assert ask("items", "delete", *among, "a").returncode == 0
    assert ask("items", "show", *among, "a").returncode == 1


def test_an_invalid_change_is_one_line(ask: Run) -> None:
    for arguments, says in [
        (("patch", "a"), "give what to change"),
        (("patch", "a", "--attributes", "[1]"), "not a JSON object"),
        (("patch", "a", "--attributes", '{"a": NaN}'), "NaN"),
        (("patch", "a", "--caption", "x", "--no-caption"), "--no-caption"),
        (("patch", "a", "--caption", " "), "empty"),
        (("list", "--where", "n >>"), "filter"),
    ]:
        done = ask("items", *arguments, "--collection", "things")
        assert done.returncode == 2, done
        assert says in done.stderr
    assert ask("items", "patch", "nobody", "--collection", "things", "--attributes", "{}").returncode == 1
