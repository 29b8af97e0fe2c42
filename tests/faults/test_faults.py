"""Each fault of docs/reliability.md once: nothing is lost, nothing doubled, every bad input is in quarantine.

ANYSEEK_FAULT_INPUTS (1,000 unless set) and ANYSEEK_FAULT_SEED (0) say how; a failure tells its seed.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disk import NoSmallDisk
from tests.faults.run import FAULTS, run
from tests.faults.servers import Servers, private_servers
from tests.workers.processes import POSTGRES

INPUTS = int(os.environ.get("ANYSEEK_FAULT_INPUTS", "1000"))
SEED = int(os.environ.get("ANYSEEK_FAULT_SEED", "0"))
# The servers are of these tests' own, and are there where others are.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(POSTGRES not in os.environ, reason=f"{POSTGRES} is not set: no real servers"),
]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with private_servers() as servers:
        yield servers


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_or_doubled(name: str, servers: Servers, tmp_path: Path) -> None:
    sys.stdout.write(f"{name}: seed {SEED}, {INPUTS} inputs\n")
    try:
        row = run(name, SEED, INPUTS, tmp_path, servers)
    except NoSmallDisk as error:
        pytest.skip(str(error))
    sys.stdout.write(f"{row}\n")
    assert row.wrong == ()
    assert (row.lost, row.doubled, row.quarantined) == (0, 0, row.bad)
    assert row.injected
