"""Log lines tell the caller, so finding it out must cost nothing."""

import pwd

import pytest

from anyseek.search.actor import Actor, acting_as, current_actor


def test_outside_of_requests_it_is_the_user_whose_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    user = current_actor()
    assert user.who.startswith("user:")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pytest.fail("looked up again"))
    assert current_actor() == user
    with acting_as(Actor("key:mine")):
        assert current_actor().key == "mine"
