"""The adversary's table is whole: its tests are there, and docs/security.md has a row for each attack."""

import re
import subprocess
import sys

import pytest

from tests.adversary.attacks import ATTACKS, ROOT, Attack

_TABLE = re.compile(r"^\| attack \| what is promised \| tried by \| left \|\n(?:\|.*\n)+", re.MULTILINE)


def _rows() -> dict[str, list[str]]:
    found = _TABLE.search((ROOT / "docs/security.md").read_text(encoding="utf-8"))
    assert found
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines()[2:]]
    return {name: rest for name, *rest in cells}


def test_the_document_has_the_same_attacks() -> None:
    assert list(_rows()) == [attack.name for attack in ATTACKS]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_document_names_the_tests_of_each(attack: Attack) -> None:
    promised, tried, left = _rows()[attack.name]
    assert promised
    assert left
    assert re.findall(r"`(\S+\.py)`", tried) == list(dict.fromkeys(test.partition("::")[0] for test in attack.tests))


def test_every_test_that_the_table_names_is_there() -> None:
    for attack in ATTACKS:
        for test in attack.tests:
            file, _, name = test.partition("::")
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert f"def {name}(" in text if name else "def test_" in text, test


_ALONE = """
import sys
from tests.adversary import __main__ as run, attacks
run.ATTACKS = (attacks.Attack("nothing", ("adversary/test_none.py",)),)
sys.exit(run.main())
"""


@pytest.mark.slow
def test_the_command_tells_what_did_not_hold() -> None:
    done = subprocess.run([sys.executable, "-c", _ALONE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("FAILED  nothing: ")
    assert done.stdout.endswith("0 of 1 attacks held\n")
