"""`anyseek config`: what is shown, and what is found wrong."""

import json
from pathlib import Path

import pytest

from tests.api.commands.conftest import Run


def test_settings_are_shown_as_variables_without_passwords(run: Run) -> None:
    done = run("config", "show", ANYSEEK_BROKER_URL="redis://:secret@127.0.0.1:1/0")
    assert done.returncode == 0
    assert "* ANYSEEK_BROKER_URL=redis://:***@127.0.0.1:1/0\n" in done.stdout
    assert "  ANYSEEK_WORK_CONCURRENCY=1\n" in done.stdout
    assert "secret" not in done.stdout
    assert json.loads(run("config", "show", "--json").stdout)["ANYSEEK_MODEL"] == "hashing"


def test_all_is_fine(run: Run, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    more = {"ANYSEEK_HOME": str(tmp_path / "home"), "ANYSEEK_ROOTS": str(tmp_path / "root")}
    done = run("config", "check", **more)
    assert done.returncode == 0, done.stdout
    assert all(line.startswith("ok ") for line in done.stdout.splitlines())
    assert "catalogue.sqlite will be created at its first use" in done.stdout
    assert "none is set: jobs run in the process that starts them" in done.stdout
    assert "hashing is loaded and works" in done.stdout
    run("collections", "list", **more)
    assert "is up to date" in run("config", "check", **more).stdout


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ANYSEEK_DATABSE_URL", "x", "ANYSEEK_DATABSE_URL is not a setting; ANYSEEK_DATABASE_URL may be meant"),
        ("ANYSEEK_ROOTS", "/nowhere/at/all", "/nowhere/at/all is not a readable folder; create it"),
        ("ANYSEEK_DATABASE_URL", "postgresql+psycopg://a:b@127.0.0.1:1/x", "a:***@127.0.0.1:1/x cannot be reached"),
        ("ANYSEEK_BROKER_URL", "redis://:b@127.0.0.1:1/0", "redis://:***@127.0.0.1:1/0 cannot be reached"),
        ("ANYSEEK_BROKER_URL", "amqp://a:b@127.0.0.1:1//", "a:***@127.0.0.1:1// cannot be reached"),
        ("ANYSEEK_ASSETS_URL", "s3://bucket/p", "s3://bucket/p cannot be reached"),
        ("ANYSEEK_ASSETS_URL", "gs://bucket/p", "gs://bucket/p needs more packages: pip install 'anyseek[sources]'"),
        ("ANYSEEK_MODEL", "psychic", "'psychic' is not a model"),
    ],
)
def test_problems_are_reported_with_a_remedy(run: Run, variable: str, value: str, says: str) -> None:
    done = run("config", "check", **{variable: value})
    assert done.returncode == 1
    (wrong,) = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    assert says in wrong
    assert ";" in wrong
    found = [json.loads(line) for line in run("config", "check", "--json", **{variable: value}).stdout.splitlines()]
    assert [finding["remedy"] != "" for finding in found if not finding["fine"]] == [True]


def test_a_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    done = run("config", "check", ANYSEEK_HOME=str(tmp_path / "home"))
    assert done.returncode == 1
    assert f"{tmp_path / 'home'} cannot be written" in done.stdout


def test_an_invalid_value_is_wrong_usage(run: Run) -> None:
    done = run("config", "show", ANYSEEK_WORK_CONCURRENCY="many")
    assert done.returncode == 2
    assert done.stderr == "anyseek: ANYSEEK_WORK_CONCURRENCY must be a valid integer, not 'many'\n"


@pytest.mark.parametrize(
    ("arguments", "more", "says"),
    [
        ((), {}, "ANYSEEK_BROKER_URL is not set"),
        (("--queues", "embed,sleep"), {"ANYSEEK_BROKER_URL": "redis://127.0.0.1:1/0"}, "'sleep' is not a queue"),
        (("--name", "a b"), {"ANYSEEK_BROKER_URL": "redis://127.0.0.1:1/0"}, "'a b' cannot be a worker's name"),
    ],
)
def test_a_misconfigured_worker_is_refused(
    run: Run, arguments: tuple[str, ...], more: dict[str, str], says: str
) -> None:
    done = run("worker", *arguments, **more)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_missing_worker_is_not_ready(run: Run) -> None:
    done = run("worker", "--ready", "--name", "nobody")
    assert (done.returncode, done.stdout) == (1, "the worker nobody is not ready\n")
