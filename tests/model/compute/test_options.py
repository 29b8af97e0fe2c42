"""What may compute networks: one rule for settings and for models that are loaded without them."""

from dataclasses import fields

import pytest

from anyseek.model.compute.options import Switches, switches, switching
from anyseek.model.errors import ModelError
from anyseek.search.settings import BadSetting, read_settings

VARIABLES = {field.name: f"ANYSEEK_{field.name.upper()}" for field in fields(Switches)}


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize(("text", "said"), [("", None), ("true", True), ("False", False), ("FALSE", False)])
def test_the_environment_says_it_as_it_does_to_settings(name: str, text: str, said: bool | None) -> None:
    expected = Switches() if said is None else Switches(**{name: said})
    assert switches({VARIABLES[name]: text}) == expected
    assert read_settings({VARIABLES[name]: text}).switches == expected


@pytest.mark.parametrize("variable", VARIABLES.values())
def test_what_settings_refuse_is_refused_without_them(variable: str) -> None:
    """`no` once left OpenVINO in."""
    with pytest.raises(ModelError, match=f"{variable} must be true or false, not 'no'"):
        switches({variable: "no"})
    with pytest.raises(BadSetting, match=f"{variable} must be true or false, not 'no'"):
        read_settings({variable: "no"})


def test_settings_come_before_the_environment() -> None:
    without = Switches(openvino=False)
    with switching(without):
        assert switches({}) == without
        with switching(None):
            assert not switches({"ANYSEEK_OPENVINO": "false"}).openvino
            assert switches({}).openvino
    with switching(Switches()):
        assert switches({"ANYSEEK_OPENVINO": "false"}).openvino
    assert not switches({"ANYSEEK_OPENVINO": "false"}).openvino
