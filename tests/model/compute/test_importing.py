"""Imports are not looked through for garbage, and what Anyseek's own program imports never is."""

import gc
import subprocess
import sys

import pytest

from anyseek.model.compute.importing import importing

_MANY = 100_000  # objects, after a few hundred of which Python usually looks for garbage


def _run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_nothing_is_looked_through_within_an_import() -> None:
    before = gc.get_stats()
    with importing("a.module.that.is.not.imported"):
        made = [[] for _ in range(_MANY)]
        during = gc.get_stats()
    assert [each["collections"] for each in during] == [each["collections"] for each in before]
    assert gc.isenabled()
    assert len(made) == _MANY


def test_it_is_again_after_an_import_that_failed() -> None:
    with pytest.raises(ModuleNotFoundError), importing("a.module.that.is.not.imported"):
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_what_is_imported_already_changes_nothing() -> None:
    with importing("sys"):
        assert gc.isenabled()


def test_whoever_turned_the_search_off_finds_it_off() -> None:
    gc.disable()
    try:
        with importing("a.module.that.is.not.imported"):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(("first", "kept"), [("keep_imports()", True), ("pass", False)])
def test_only_an_own_program_keeps_what_it_imported(first: str, kept: bool) -> None:
    program = f"""
import gc
from anyseek.model.compute.importing import importing, keep_imports
{first}
with importing("decimal"):
    import decimal
print(gc.get_freeze_count() > 0)
"""
    assert _run(program) == f"{kept}\n"


def test_torch_is_imported_so() -> None:
    program = """
import gc, pathlib, sys
from anyseek.model.errors import ModelError
from anyseek.model.library.loading import load_model
seen = []
def look(phase, info):
    torch = sys.modules.get("torch")
    if torch is not None and torch.__spec__._initializing:
        seen.append(info)
gc.callbacks.append(look)
try:
    load_model("4m-tiny", pathlib.Path("/nowhere"))
except ModelError:  # its encoders are missing there
    pass
print("torch" in sys.modules, len(seen))
"""
    assert _run(program) == "True 0\n"


def test_nothing_is_kept_beside_other_threads_whose_garbage_would_be() -> None:
    program = """
import gc, threading
from anyseek.model.compute.importing import importing, keep_imports
keep_imports()
ended = threading.Event()
threading.Thread(target=ended.wait).start()
with importing("decimal"):
    import decimal
print(gc.get_freeze_count())
ended.set()
"""
    assert _run(program) == "0\n"
