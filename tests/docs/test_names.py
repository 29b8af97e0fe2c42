"""What the documents name is what the code has: variables, requests, verbs, metrics, audited actions, commands."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click

from anyseek import AsyncClient, Client
from anyseek.api import app
from anyseek.api.cli import cli
from anyseek.search.settings import Settings, variables

ROOT = Path(__file__).parents[2]
PAGES = {page.name: page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
EVERYTHING = "\n".join(PAGES.values())
OPERATING = PAGES["operating.md"]
TOPS = ("api", "workers", "indexer", "search", "model")
# Variables that are no settings: those of clients and of the tests.
OTHERS = {"ANYSEEK_URL", "ANYSEEK_API_KEY", "ANYSEEK_MODEL"}
OF_TESTS = {"ANYSEEK_FAULT_INPUTS", "ANYSEEK_FAULT_SEED", "ANYSEEK_TEST_PATIENCE"}


@cache
def texts_of_code() -> frozenset[str]:
    """All that stands between double quotes in a line of the code."""
    paths = (path for top in TOPS for path in (ROOT / top).rglob("*.py"))
    return frozenset(text for path in paths for text in re.findall(r'"([^"\n]*)"', path.read_text(encoding="utf-8")))


def named_variables() -> set[str]:
    """The variables in the documents; a table writes `…_HITS` for one that begins like its neighbour."""
    whole = set(re.findall(r"ANYSEEK_[A-Z_]+[A-Z]", EVERYTHING))
    for line in EVERYTHING.splitlines():
        for neighbour in re.findall(r"`(ANYSEEK_[A-Z_]+[A-Z])`", line):
            ends = re.findall(r"`…(_[A-Z_]+)`", line)
            starts = [neighbour[: match.start()] for match in re.finditer("_", neighbour)]
            whole |= {start + end for start in starts for end in ends} & settings()
    return whole


def settings() -> set[str]:
    return {name for name, _ in variables(Settings(Path("/somewhere")))}


def test_the_documents_name_every_setting_and_no_other_variable() -> None:
    assert settings() | OTHERS | OF_TESTS == named_variables()


def listed_requests(routes: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The requests in the table of api.md; `…/items` begins like the one before it, wherever that makes a route."""
    found: set[tuple[str, str]] = set()
    for row in re.findall(r"^\| (`(?:GET|POST|PUT|PATCH|DELETE).*?) \|", PAGES["api.md"], re.MULTILINE):
        methods: list[str] = []
        before = ""
        for said in re.findall(r"`([^`]+)`", row):
            verbs, space, path = said.rpartition(" ")
            methods = verbs.split(", ") if space else methods
            path = re.sub(r"\{\w+\}", "{}", path.partition("?")[0])
            starts = [before[: match.start()] for match in re.finditer("/", f"{before}/")]
            paths = [start + path[1:] for start in starts] if path.startswith("…") else [path]
            made = {(method, each) for method in methods for each in paths}
            found |= made & routes if path.startswith("…") else made
            before = path if not path.startswith("…") else before
    return found


def test_api_lists_every_request_and_no_other() -> None:
    routes = {
        (method, re.sub(r"\{[^}]*\}", "{}", route.path))
        for router in app._ROUTERS
        for route in router.routes
        for method in route.methods
    }
    pages = {("GET", path) for path in ("/", "/credits", "/docs", "/openapi.json")}
    assert listed_requests(routes) == routes | pages


def test_api_names_every_verb_of_the_clients() -> None:
    verbs = {name for name in dir(Client) if not name.startswith("_")}
    assert verbs == {name for name in dir(AsyncClient) if not name.startswith("_")}
    named = set(re.findall(r"`(?:client\.)?(\w+)[`(]", PAGES["api.md"])) | set(
        re.findall(r"client\.(\w+)\(", PAGES["api.md"])
    )
    assert verbs - named == {"close"}  # which verbs and `with` use


def test_operating_lists_every_audited_action_and_no_other() -> None:
    said = {text for text in texts_of_code() if re.fullmatch(r"(collection|item|job|key|source)\.[a-z-]+", text)}
    said.add("restore")
    table = OPERATING.split("| actions | target |")[1].split("\n\n")[0]
    listed: set[str] = set()
    for row in table.strip().splitlines()[1:]:
        kind = ""
        for name in re.findall(r"`([a-z.-]+)`", row.split("|")[1]):
            kind = name.partition(".")[0] or kind
            listed.add(name if not name.startswith(".") else kind + name)
    assert listed == said


def test_operating_lists_every_metric_and_no_other() -> None:
    made = {text for text in texts_of_code() if re.fullmatch(r"anyseek(_[a-z]+)+", text)} - {
        "anyseek_busy_timeout",
        "anyseek_vectors",
    }
    listed = set(re.findall(r"anyseek(?:_[a-z]+)+", OPERATING))
    assert {name.removesuffix("_total") for name in listed} == {name.removesuffix("_total") for name in made}


def commands(group: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            assert found is not None
            yield from commands(found, (*words, name))


def test_commands_in_the_documents_have_the_options_that_are_given() -> None:
    known = dict(commands(cli))
    seen = 0
    for page, text in PAGES.items():
        for line in re.findall(r"^(?:\S*/)?anyseek (.+)$", text.replace("\\\n", " "), re.MULTILINE):
            words = re.split(r" \| | #|\s&& ", line)[0].split()
            command = max((found for found in known if tuple(words[: len(found)]) == found), key=len)
            assert command, f"{page}: there is no command in: anyseek {line}"
            options = {option for each in known[command].params for option in (*each.opts, *each.secondary_opts)}
            given = {word.partition("=")[0] for word in words if re.match(r"\[?--?[a-z]", word)}
            strange = {word.lstrip("[").rstrip("]") for word in given} - options - {"--help"}
            assert not strange, f"{page}: anyseek {' '.join(command)} has no {strange}"
            seen += 1
    assert seen > 40
