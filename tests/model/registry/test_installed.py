"""The list of all models, read without loading any."""

import json
import shlex
from pathlib import Path

from anyseek.model.bridges.files import RECORD_FILE, BridgeRecord
from anyseek.model.bridges.files import folder_of as bridge_folder
from anyseek.model.encoders.pull import ENCODERS, LANGUAGES, encoders_folder
from anyseek.model.fourm.bundled.bundle import MANIFEST, WEIGHTS, load_bundle
from anyseek.model.fourm.published.names import PUBLISHED, VOCABULARY
from anyseek.model.fourm.published.store import State, folder_of, incoming_folder
from anyseek.model.openclip.files import CONFIG_FILE, PHOTOS
from anyseek.model.openclip.files import folder_of as openclip_folder
from anyseek.model.registry.installed import ENCODER_SETS, list_models, recommendations


def test_nothing_is_installed_in_an_empty_home(tmp_path: Path) -> None:
    rows = {row.name: row for row in list_models(tmp_path)}
    assert list(rows) == ["4m-tiny", "4m-tiny-open", "hashing", "encoders", "languages", *PUBLISHED, VOCABULARY]
    assert {rows[name].state for name in PUBLISHED} == {State.MISSING}
    assert rows["4m-tiny"].state is State.INCOMPLETE  # it needs the encoders
    assert rows["4M-21_XL"].licence == "non-commercial"


def test_the_bundled_model_is_complete_with_its_encoders(tmp_path: Path) -> None:
    for of in (ENCODERS, LANGUAGES):
        assert {source.target for source in of.sources} == set(ENCODER_SETS[of.name][0])
    encoders_folder(tmp_path).mkdir(parents=True)
    for file in (*ENCODER_SETS["encoders"][0], "manifest.json"):
        (encoders_folder(tmp_path) / file).write_bytes(b"1")
    tiny, _, encoders = list_models(tmp_path)[:3]
    assert (tiny.state, encoders.state) == (State.INSTALLED, State.INSTALLED)
    assert tiny.fingerprint == load_bundle("4m-tiny").fingerprint


def test_what_was_begun_is_incomplete(tmp_path: Path) -> None:
    folder_of("4M-21_B", tmp_path).mkdir(parents=True)
    (folder_of("4M-21_B", tmp_path) / "model.safetensors").write_bytes(b"by hand")
    incoming_folder("4M-21_L", tmp_path).mkdir(parents=True)
    (incoming_folder("4M-21_L", tmp_path) / "model.safetensors.part").write_bytes(b"interrupted")
    incoming_folder("4M-21_XL", tmp_path).mkdir(parents=True)
    rows = {row.name: row.state for row in list_models(tmp_path)}
    assert [rows[f"4M-21_{size}"] for size in ("B", "L", "XL")] == [
        State.INCOMPLETE,
        State.INCOMPLETE,
        State.MISSING,
    ]


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
    path = openclip_folder(PHOTOS.model, tmp_path) / CONFIG_FILE
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    _, photos, _ = recommendations(tmp_path)
    assert photos.commands[0] == "anyseek models adapt photos"
    record = bridge_folder("bridge:photos", tmp_path) / RECORD_FILE
    record.parent.mkdir(parents=True)
    record.write_text(BridgeRecord(PHOTOS.model, "a" * 64, "b" * 64, {}, {}).to_json())
    _, photos, _ = recommendations(tmp_path)
    assert photos.installed
    assert len(photos.commands) == 1
