"""Log lines tell the caller, so finding it out must cost nothing."""

import pwd

import pytest

from anyseek.search.actor import Caller, acting, caller


def test_outside_of_requests_it_is_the_user_whose_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    user = caller()
    assert user.who.startswith("user:")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pytest.fail("looked up again"))
    assert caller() == user
    with acting(Caller("key:mine")):
        assert caller().key == "mine"
