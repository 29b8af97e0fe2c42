"""A few of `make fuzz`'s requests of each kind, and that it notices what it is there to notice."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from tests.fuzz import __main__ as command
from tests.fuzz import furnishing, sent
from tests.fuzz.described import run_described
from tests.fuzz.furnishing import fresh_service
from tests.fuzz.running import KINDS, WARM_UP, Outcome, made, run, send
from tests.fuzz.sent import Sent, wrong
from tests.services.anyseek import Anyseek

# Listing jobs raises what nobody catches, and listing collections takes long.
_TRAPS = """
import time
from anyseek.search.catalogue import collections, jobs

def fail(*_):
    raise RuntimeError("trapped")

def wait(*_):
    time.sleep(2)
    return []

jobs.list_page = fail
collections.list_all = wait
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anyseek]:
    with fresh_service(tmp_path_factory.mktemp("fuzz")) as started:
        yield started


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same_requests(kind: str) -> None:
    assert [made(kind, 3, number) for number in range(50)] == [made(kind, 3, number) for number in range(50)]
    assert len({made(kind, 3, number).body + made(kind, 3, number).path.encode() for number in range(50)}) > 25


@pytest.mark.slow
def test_none_of_a_few_requests_makes_the_service_fail(service: Anyseek) -> None:
    outcome = run(service, 0, 0, 500, time.monotonic() + 600)
    assert outcome.requests == 500
    assert outcome.statuses[200] > 50  # it does not only knock at the door
    assert [found.sentence for found in outcome.found] == []


@pytest.mark.slow
def test_none_of_schemathesis_requests_makes_the_service_fail(service: Anyseek) -> None:
    pytest.importorskip("schemathesis", reason="it is in the extra dev")
    asked = run_described(service.url, seed=0, requests=40, seconds=600)
    assert asked.is_well, asked.report
    assert asked.requests > 100


@pytest.mark.slow
def test_a_failure_and_a_hang_are_noticed_and_told_how_to_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(furnishing, "furnish", lambda _: None)
    outcome = Outcome()
    with (
        fresh_service(tmp_path / "service", _TRAPS) as service,
        httpx.Client(base_url=service.url, timeout=0.5) as http,
    ):
        send(http, "forms", 7, Sent("GET", "/v1/jobs"), outcome)
        send(http, "forms", 8, Sent("GET", "/v1/collections"), outcome)
        send(http, "forms", 9, Sent("GET", "/healthz"), outcome)
    assert command._tell(outcome, service.url, 5, tmp_path)
    said = capsys.readouterr().out
    assert "WRONG forms:7: 500 urn:anyseek:error" in said
    assert "WRONG forms:8: no answer in" in said
    assert "forms:9" not in said
    assert "python -m tests.fuzz --seed 5 --only forms:7" in said
    assert f"curl -sS -X GET {service.url}/v1/jobs" in said


@pytest.mark.slow
def test_one_request_is_sent_again(tmp_path: Path) -> None:
    done = CliRunner().invoke(command.main, ["--only", "forms:3", "--out", str(tmp_path)])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "0 wrong")
    assert CliRunner().invoke(command.main, ["--only", "nothing:3", "--out", str(tmp_path)]).exit_code == 2


@pytest.mark.parametrize(
    ("status", "media_type", "text", "said"),
    [
        (500, "text/plain", "Internal Server Error", "500 is no problem document"),
        (422, "application/problem+json", '{"type": "about:blank"}', "foreign type"),
        (503, "application/problem+json", '{"type": "urn:anyseek:busy", "detail": "d"}', "503 urn:anyseek:busy"),
        (
            422,
            "application/problem+json",
            '{"type": "urn:anyseek:x", "detail": "%s"}' % ("d" * 2_000),
            "2,000 characters",
        ),
        (200, "application/json", '{"score": NaN}', "NaN"),
        (500, "application/problem+json", None, "500"),
    ],
)
def test_what_is_wrong_with_an_answer(status: int, media_type: str, text: str | None, said: str) -> None:
    assert said in (wrong(status, media_type, text) or "")


def test_what_is_right() -> None:
    refusal = '{"type": "urn:anyseek:weights-missing", "detail": "pull it"}'
    assert wrong(503, "application/problem+json", refusal) is None
    assert wrong(200, "application/json", '{"score": 0.5}') is None
    assert wrong(404, "application/problem+json", None) is None
    assert sent.MAX_SECONDS == 10


def test_memory_that_grows_is_told() -> None:
    leaking = Outcome(memory=[(50 * number, 100 + 0.1 * number) for number in range(200)])
    assert leaking.growth == pytest.approx(2.0)
    steady = Outcome(memory=[(50 * number, 100 + min(number, 90)) for number in range(200)])
    assert steady.growth == pytest.approx(0.0, abs=1e-6)
    assert Outcome(memory=[(0, 1.0)]).growth is None
    once = Outcome(memory=[(WARM_UP + n, 100.0 if n < 1_500 else 120.0) for n in range(0, 2_000, 50)])
    assert once.growth == pytest.approx(0.0, abs=1e-6)  # a step, such as a buffer that is kept
    thrice = [(WARM_UP + n, 100.0 + sum(n > step for step in (500, 900, 1_700))) for n in range(0, 2_166, 50)]
    assert Outcome(memory=thrice).growth == pytest.approx(0.0, abs=1e-6)
    bursts = [(WARM_UP + n, 100.0 + n // 100 * 0.2) for n in range(0, 2_166, 50)]
    assert Outcome(memory=bursts).growth == pytest.approx(2.0, abs=0.7)
