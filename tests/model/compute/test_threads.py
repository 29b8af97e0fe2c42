import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from anyseek.model.compute.threads import Sharing, processors, threads_to_use


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _threads_of_a_pass(sharing: Sharing) -> int:
    with sharing.model_pass():
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
    with sharing.model_pass(), ThreadPoolExecutor(1) as beside:
        assert torch.get_num_threads() == 4
        assert beside.submit(_threads_of_a_pass, sharing).result() == 2
    with sharing.model_pass():
        assert torch.get_num_threads() == 4


def test_a_pass_within_a_pass_changes_nothing() -> None:
    """As where a prediction asks for vectors: it would take half of the threads from itself, for good."""
    sharing = Sharing()
    sharing.threads = 4
    with sharing.model_pass(), ThreadPoolExecutor(1) as beside:
        with sharing.model_pass():
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
        with sharing.model_pass():
            seen.append(torch.get_num_threads())

    with sharing.model_pass():
        thread = threading.Thread(target=embed)
        thread.start()
        thread.join()
    assert seen == [1]


def test_torch_is_left_alone_until_threads_are_set() -> None:
    torch.set_num_threads(3)
    with Sharing().model_pass():
        assert torch.get_num_threads() == 3


def test_a_pass_that_fails_gives_its_share_back() -> None:
    sharing = Sharing()
    sharing.threads = 2
    with pytest.raises(ValueError, match="failed"), sharing.model_pass():
        raise ValueError("the pass failed")
    with sharing.model_pass():
        assert torch.get_num_threads() == 2
