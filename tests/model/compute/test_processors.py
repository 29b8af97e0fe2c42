import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from anyseek.model.compute.processors import Sharing, importing, processors, threads_to_use


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _threads_of_a_pass(sharing: Sharing) -> int:
    with sharing.a_pass():
        return torch.get_num_threads()


def test_a_quota_of_the_container_limits_the_processors(tmp_path: Path) -> None:
    quota, allowed = tmp_path / "cpu.max", len(os.sched_getaffinity(0))
    assert processors(tmp_path / "absent") == allowed
    for text, expected in (("max 100000", allowed), ("100000 100000", 1), ("50000 100000", 1), ("?", allowed)):
        quota.write_text(text)
        assert processors(quota) == expected


def test_what_the_user_set_comes_before_the_processors() -> None:
    assert threads_to_use(3, {"OMP_NUM_THREADS": "5"}) == 3
    assert threads_to_use(0, {"OMP_NUM_THREADS": "5"}) == 5
    assert threads_to_use(0, {"OMP_NUM_THREADS": "4,2"}) == 4
    for unusable in ("", "0", "many"):
        assert threads_to_use(0, {"OMP_NUM_THREADS": unusable}) == processors()


def test_passes_at_once_divide_the_threads_and_one_alone_has_all() -> None:
    sharing = Sharing()
    sharing.threads = 4
    with sharing.a_pass(), ThreadPoolExecutor(1) as beside:
        assert torch.get_num_threads() == 4
        assert beside.submit(_threads_of_a_pass, sharing).result() == 2
    with sharing.a_pass():
        assert torch.get_num_threads() == 4


def test_a_pass_within_a_pass_changes_nothing() -> None:
    """As where a prediction asks for vectors: it would take half of the threads from itself, for good."""
    sharing = Sharing()
    sharing.threads = 4
    with sharing.a_pass(), ThreadPoolExecutor(1) as beside:
        with sharing.a_pass():
            assert torch.get_num_threads() == 4
            assert beside.submit(_threads_of_a_pass, sharing).result() == 2
        assert torch.get_num_threads() == 4
        assert beside.submit(_threads_of_a_pass, sharing).result() == 2
    assert _threads_of_a_pass(sharing) == 4


def test_a_thread_that_took_its_own_number_keeps_it() -> None:
    sharing, seen = Sharing(), list[int]()
    sharing.threads = 4

    def embed() -> None:
        sharing.take(1)
        with sharing.a_pass():
            seen.append(torch.get_num_threads())

    with sharing.a_pass():
        thread = threading.Thread(target=embed)
        thread.start()
        thread.join()
    assert seen == [1]


def test_torch_is_left_alone_until_threads_are_set() -> None:
    torch.set_num_threads(3)
    with Sharing().a_pass():
        assert torch.get_num_threads() == 3


def test_a_pass_that_fails_gives_its_share_back() -> None:
    sharing = Sharing()
    sharing.threads = 2
    with pytest.raises(ValueError, match="failed"), sharing.a_pass():
        raise ValueError("the pass failed")
    with sharing.a_pass():
        assert torch.get_num_threads() == 2


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
from anyseek.model.compute.processors import importing, keep_imports
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
from anyseek.model.compute.processors import importing, keep_imports
keep_imports()
ended = threading.Event()
threading.Thread(target=ended.wait).start()
with importing("decimal"):
    import decimal
print(gc.get_freeze_count())
ended.set()
"""
    assert _run(program) == "0\n"
