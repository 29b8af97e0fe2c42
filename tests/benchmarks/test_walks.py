"""The two journeys that `benchmarks.walks` follows really happen, and enter what they must."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_both_walks_are_followed_to_their_end() -> None:
    command = [sys.executable, "-m", "benchmarks.walks", "--modules"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    index, query = done.stdout.split("from a query part over HTTP to hits")
    assert "anyseek.search.catalogue.items" in index
    assert "anyseek.search.engine" in query
    assert "anyseek.model.hashing" in index
    assert "anyseek.model.hashing" in query
