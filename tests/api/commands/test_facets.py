"""`anyseek facets`: the same by the running service and in the data directory."""

import json
from functools import partial
from pathlib import Path

import pytest

from anyseek import Client
from tests.api.commands.conftest import Run


@pytest.fixture(params=["service", "directory"])
def ask(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> Run:
    """Runs a command on a collection of twelve captions, by a service or without one."""
    home = tmp_path / "home"
    location = request.getfixturevalue("serving") if request.param == "service" else home
    with Client(location, patience=30, model="hashing") as client:
        if not any(row["name"] == "lessons" for row in client.collections()):
            client.create_collection("lessons")
            for number in range(6):
                client.put_item("lessons", f"cat {number}", caption=f"a black cat on sofa {number}")
                client.put_item("lessons", f"car {number}", caption=f"the red car in street {number}")
    return run if request.param == "service" else partial(run, ANYSEEK_HOME=str(home))


def test_a_facet_is_taught_listed_explained_and_forgotten(ask: Run, tmp_path: Path) -> None:
    rows = [f"{what} {number},{what}" for what in ("cat", "car") for number in range(4)]
    (tmp_path / "labels.csv").write_text("\n".join(["key,label", *rows]))
    taught = json.loads(
        ask("facets", "teach", "lessons", "kind", "--from", str(tmp_path / "labels.csv"), "--json").stdout
    )
    assert (taught["kind"], len(taught["examples"]), taught["applied"]) == ("classes", 8, True)
    assert ask("facets", "list", "lessons").stdout.startswith("taught.kind.value  classes  8 examples")
    found = ask("items", "list", "--collection", "lessons", "--where", "taught.kind.value = cat", "--json").stdout
    assert sorted(json.loads(line)["key"] for line in found.splitlines()) == [f"cat {number}" for number in range(6)]
    assert set(ask("facets", "suggest", "lessons", "kind", "--count", "2").stdout.split("\n")[:2]) <= {
        f"{what} {number}" for what in ("cat", "car") for number in (4, 5)
    }
    assert ask("facets", "why", "lessons", "kind", "cat 5").stdout.startswith("cat  (")
    assert ask("facets", "forget", "lessons", "kind").stdout == "kind is forgotten\n"
    assert ask("facets", "list", "lessons").stdout == ""


def test_yes_and_no_are_given_by_key(ask: Run) -> None:
    done = ask("facets", "teach", "lessons", "pet", "--yes", "cat 0", "--yes", "cat 1", "--no", "car 0")
    assert done.stdout.startswith("taught.pet.value  yes-no  3 examples")
    assert "error unknown: too few examples" in done.stdout
    ask("facets", "forget", "lessons", "pet")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cat 0", "row 1 of"),
        ("cat 0,a\ncat 1,b,c", "row 2 of"),
        ("nobody,a\ncat 1,b", "no item 'nobody'"),
        ("cat 0,a\ncat 1,a", "at least two classes"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(ask: Run, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    done = ask("facets", "teach", "lessons", "kind", "--from", str(tmp_path / "labels.csv"))
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
