"""Whether OpenVINO may be used: one rule for settings and for models that are loaded without them."""

import pytest

from model.encoders.openvino_allowed import SWITCH, allowing_openvino, may_use_openvino
from model.errors import ModelError
from search.settings import BadSetting, read_settings


@pytest.mark.parametrize(("text", "allowed"), [("", True), ("true", True), ("False", False), ("FALSE", False)])
def test_the_environment_says_it_as_it_does_to_settings(text: str, allowed: bool) -> None:
    assert may_use_openvino({SWITCH: text}) is allowed
    assert read_settings({SWITCH: text}).openvino is allowed


def test_what_settings_refuse_is_refused_without_them() -> None:
    """`no` once left OpenVINO in."""
    with pytest.raises(ModelError, match="ANYSEEK_OPENVINO must be true or false, not 'no'"):
        may_use_openvino({SWITCH: "no"})
    with pytest.raises(BadSetting, match="ANYSEEK_OPENVINO must be true or false, not 'no'"):
        read_settings({SWITCH: "no"})


def test_settings_come_before_the_environment() -> None:
    with allowing_openvino(False):
        assert not may_use_openvino({})
        with allowing_openvino(None):
            assert not may_use_openvino({SWITCH: "false"})
            assert may_use_openvino({})
    with allowing_openvino(True):
        assert may_use_openvino({SWITCH: "false"})
    assert not may_use_openvino({SWITCH: "false"})
