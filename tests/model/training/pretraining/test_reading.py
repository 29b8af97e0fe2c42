import pytest

from model.training.pretraining.errors import TrainingConfigInvalid
from model.training.pretraining.reading import Section


def test_a_flag_is_true_or_false_and_nothing_else() -> None:
    section = Section("run", {"on": True, "off": False, "word": "yes", "number": 1})
    assert section.flag("on")
    assert not section.flag("off", True)
    assert section.flag("missing", True)
    with pytest.raises(TrainingConfigInvalid, match=r"run\.word must be true or false, not 'yes'"):
        section.flag("word")
    with pytest.raises(TrainingConfigInvalid, match=r"run\.number must be true or false, not 1"):
        section.flag("number")
