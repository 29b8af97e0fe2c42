"""What takes long is worked out once for all who ask, and so much of it is kept and no more."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from anyseek.search.result_cache import ResultCache


def test_all_who_ask_at_the_same_time_get_one_result() -> None:
    kept, made, go_on = ResultCache[str, object](2), list[object](), threading.Event()

    def make() -> object:
        go_on.wait(60)
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(kept.get, "a", make) for _ in range(8)]
        go_on.set()
        assert {answer.result(60) for answer in asked} == {made[0]}
    assert len(made) == 1


def test_those_go_that_nobody_asked_for_lately() -> None:
    kept, made = ResultCache[str, str](2), list[str]()

    def get(key: str) -> None:
        def make() -> str:
            made.append(key)
            return key

        assert kept.get(key, make) == key

    for key in "abacab":
        get(key)
    assert made == ["a", "b", "c", "b"]


def test_what_is_forgotten_meanwhile_is_given_to_who_asked_and_made_anew() -> None:
    kept = ResultCache[str, int](2)

    def make() -> int:
        kept.forget()
        return 1

    assert kept.get("a", make) == 1
    assert kept.get("a", lambda: 2) == 2


def test_what_failed_is_not_kept() -> None:
    kept = ResultCache[str, int](2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 1) == 1
