"""Which model suits what."""

import json
import shlex
from pathlib import Path

from anyseek.model.bridges.files import RECORD_FILE, Record
from anyseek.model.bridges.files import folder_of as bridge_folder
from anyseek.model.fourm.bundled.bundle import MANIFEST, WEIGHTS
from anyseek.model.library.recommended import recommendations
from anyseek.model.openclip.aliases import PHOTOS
from anyseek.model.openclip.files import CONFIG_FILE, folder_of


def test_in_an_empty_home_everything_is_still_to_be_fetched(tmp_path: Path) -> None:
    icons, photos, features = recommendations(tmp_path)
    assert icons.commands == ("anyseek models pull encoders", "anyseek index PICTURES/ --collection NAME")
    assert photos.model == "bridge:photos"
    assert photos.commands[:2] == ("anyseek models pull photos", "anyseek models adapt photos")
    assert photos.commands[2] == "anyseek index PHOTOS/ --collection NAME --model bridge:photos"
    assert features.commands[0] == "anyseek models pull 4M-21_B"
    assert not any(row.installed for row in (icons, photos, features))


def test_the_licence_of_the_bundled_model_is_that_of_its_weights(tmp_path: Path) -> None:
    icons, _, _ = recommendations(tmp_path)
    said = json.loads((WEIGHTS / icons.model / MANIFEST).read_text())["licence"]
    assert icons.licence.startswith("non-commercial")
    assert said.startswith("non-commercial")


def test_every_command_is_one_that_can_be_typed(tmp_path: Path) -> None:
    """Two commands stood in one line, and one lacked the collection that it needs."""
    for command in (command for row in recommendations(tmp_path) for command in row.commands):
        program, name, *arguments = shlex.split(command)
        assert (program, "or" in arguments) == ("anyseek", False)
        assert name != "index" or "--collection" in arguments


def test_what_is_there_is_not_asked_for_again(tmp_path: Path) -> None:
    path = folder_of(PHOTOS.model, tmp_path) / CONFIG_FILE
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    _, photos, _ = recommendations(tmp_path)
    assert photos.commands[0] == "anyseek models adapt photos"
    record = bridge_folder("bridge:photos", tmp_path) / RECORD_FILE
    record.parent.mkdir(parents=True)
    record.write_text(Record(PHOTOS.model, "a" * 64, "b" * 64, {}, {}).to_json())
    _, photos, _ = recommendations(tmp_path)
    assert photos.installed
    assert len(photos.commands) == 1
