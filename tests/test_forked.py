"""A process of a test sees the environment that the test has set."""

import os
import sys

import pytest

from tests.forked import begun, exit_code


def say_variable() -> None:
    sys.exit(int(os.environ.get("ANYSEEK_FORKED", "0")))


def test_each_process_has_the_environment_of_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(begun(say_variable)) == 0
    monkeypatch.setenv("ANYSEEK_FORKED", "7")
    assert exit_code(begun(say_variable)) == 7
