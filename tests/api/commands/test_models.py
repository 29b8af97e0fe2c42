"""`anyseek models`: list, pull, import, verify."""

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anyseek.model.fourm.published import names
from anyseek.model.fourm.published.store import MODEL_FILE, folder_of
from anyseek.model.galleries.photos import FOLDER
from anyseek.model.openclip.files import is_installed
from tests.api.commands.conftest import Imported, Run
from tests.model.fourm.published.local_hub import LocalHub, serving
from tests.model.openclip.making import make_folder
from tests.random_weights import write_random_models

POSES, CLIP = names.HUMAN_POSES, names.CLIP


@pytest.fixture(scope="module")
def published_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("published")
    write_random_models(made, dim=8)
    return made


@pytest.fixture
def hub(published_home: Path) -> Iterator[LocalHub]:
    """A Hub that has two tokenizers."""
    files = {
        (f"EPFL-VILAB/{name}", MODEL_FILE): (folder_of(name, published_home) / MODEL_FILE).read_bytes()
        for name in (POSES, CLIP)
    }
    with serving(LocalHub(files)) as running:
        yield running


def anyseek(home: Path, *arguments: str, stdin: int = subprocess.DEVNULL, **more: str) -> Any:
    """The command in a process of its own, since the Hub's library reads the environment once."""
    program = "import sys; from anyseek.api.cli import main; sys.argv[0] = 'anyseek'; main()"
    environment = os.environ | {"ANYSEEK_HOME": str(home)} | more
    command = [sys.executable, "-c", program, "models", *arguments]
    return subprocess.run(
        command, env=environment, stdin=stdin, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_list_has_every_model_with_its_state(run: Run, published_home: Path) -> None:
    done = run("models", "list", ANYSEEK_HOME=str(published_home))
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    known = ["4m-tiny", "4m-tiny-open", "hashing", "encoders", "languages", *names.PUBLISHED, names.VOCABULARY]
    assert list(lines) == known + (["openclip:ARCH/PRETRAINED"] if is_installed() else [])
    assert "network           installed " in lines["4M-21_B"]
    assert " MB  non-commercial  fingerprint " in lines["4M-21_B"]
    assert lines["4M-21_XL"].split() == ["4M-21_XL", "network", "not", "installed", "non-commercial"]


def test_the_list_as_json(run: Run, published_home: Path) -> None:
    done = run("models", "list", "--json", ANYSEEK_HOME=str(published_home))
    rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["4M-21_L"] == {
        "name": "4M-21_L",
        "kind": "network",
        "state": "not installed",
        "licence": "non-commercial",
        "fingerprint": None,
        "size": None,
    }
    assert rows["4M-21_B"]["size"] > 1_000_000
    assert len(rows["4M-21_B"]["fingerprint"]) == 64


def test_the_list_loads_no_networks(imported: Imported) -> None:
    shown, heavy = imported("models", "list")
    assert "4M-21_B" in shown
    assert "torch" not in heavy


def test_without_a_terminal_the_licence_is_accepted_by_option(hub: LocalHub, tmp_path: Path) -> None:
    done = anyseek(tmp_path, "pull", POSES, HF_ENDPOINT=hub.url)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "non-commercial" in line
    assert "--accept-licence" in line
    assert hub.requests == []


def test_an_accepted_licence_is_remembered(hub: LocalHub, tmp_path: Path) -> None:
    done = anyseek(tmp_path, "pull", POSES, "--accept-licence", HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    assert "non-commercial" in done.stderr
    assert done.stdout.startswith(f"installed {POSES}  ")
    done = anyseek(tmp_path, "pull", CLIP, HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    assert "non-commercial" not in done.stderr
    assert anyseek(tmp_path, "pull", CLIP, HF_ENDPOINT=hub.url).stdout == f"{CLIP}: all in place already\n"


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1)])
def test_a_user_at_a_terminal_is_asked(hub: LocalHub, tmp_path: Path, answer: bytes, code: int) -> None:
    keyboard, terminal = pty.openpty()
    os.write(keyboard, answer)
    done = anyseek(tmp_path, "pull", POSES, stdin=terminal, HF_ENDPOINT=hub.url)
    os.close(keyboard)
    os.close(terminal)
    assert done.returncode == code, done.stderr
    assert "Do you accept that licence?" in done.stderr
    assert (f"installed {POSES}" in done.stdout) == (code == 0)
    assert bool(hub.requests) == (code == 0)


def test_offline_errors_name_the_next_step(hub: LocalHub, tmp_path: Path) -> None:
    done = anyseek(tmp_path, "pull", "4M-7_B_CC12M", "--accept-licence", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "copy the folders below `models/` of its data directory" in done.stderr
    assert hub.requests == []


def test_copied_weights_are_verified(run: Run, published_home: Path, tmp_path: Path) -> None:
    shutil.copytree(folder_of(POSES, published_home), folder_of(POSES, tmp_path))
    done = run("models", "verify", POSES, ANYSEEK_HOME=str(tmp_path))
    assert (done.returncode, done.stdout.split()[1]) == (0, "right")


def test_problems_are_listed_and_exit_with_1(run: Run, tmp_path: Path) -> None:
    done = run("models", "verify", "4M-7_B_CC12M", ANYSEEK_HOME=str(tmp_path))
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1 + 5 + 1
    assert done.stdout.splitlines()[0].endswith("run `anyseek models pull 4M-7_B_CC12M`")


def test_an_adapted_model_is_listed_verified_and_searched_with(run: Run, tmp_path: Path) -> None:
    home, base = str(tmp_path / "home"), f"openclip:local-dir:{make_folder(tmp_path / 'tiny')}"
    done = run("models", "adapt", base, "--plain", ANYSEEK_HOME=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("made bridge:tiny  takes bounding_boxes, canny_edge, caption, color_palette, depth")
    listed = run("models", "list", "--json", ANYSEEK_HOME=home).stdout.splitlines()
    row = next(row for row in map(json.loads, listed) if row["name"] == "bridge:tiny")
    assert (row["kind"], row["state"]) == ("bridge", "installed")
    verified = run("models", "verify", "bridge:tiny", ANYSEEK_HOME=home)
    assert (verified.returncode, row["fingerprint"] in verified.stdout) == (0, True)
    again = run("models", "adapt", base, "--plain", ANYSEEK_HOME=home)
    assert again.returncode == 2
    assert "--replace" in again.stderr


@pytest.mark.slow
def test_a_collection_is_reembedded_by_an_adapted_model_and_queried_with_a_map(run: Run, tmp_path: Path) -> None:
    home, base = str(tmp_path / "home"), f"openclip:local-dir:{make_folder(tmp_path / 'tiny')}"
    assert run("models", "adapt", base, "--plain", ANYSEEK_HOME=home).returncode == 0
    rooms = str(FOLDER / "rgb")
    done = run("index", rooms, "--collection", "rooms", "--model", "hashing", ANYSEEK_HOME=home)
    assert done.returncode == 0, done.stderr
    done = run("collections", "reembed", "rooms", "--model", "bridge:tiny", ANYSEEK_HOME=home)
    assert done.returncode == 0, done.stderr
    done = run("query", "--collection", "rooms", "--depth", str(FOLDER / "depth" / "test-00000.png"), ANYSEEK_HOME=home)
    assert done.returncode == 0, done.stderr
    assert "test-" in done.stdout


def test_recommendations_name_the_commands(run: Run, tmp_path: Path) -> None:
    done = run("models", "recommend", ANYSEEK_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "photo libraries: bridge:photos (MIT; to be installed)" in done.stdout
    assert "    anyseek models adapt photos\n" in done.stdout
    rows = run("models", "recommend", "--json", ANYSEEK_HOME=str(tmp_path)).stdout.splitlines()
    assert [json.loads(row)["model"] for row in rows] == ["4m-tiny", "bridge:photos", "4M-21_B"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("adapt", "4M-21_B"), 2, "only open_clip models can"),
        (("adapt", "openclip:ViT-B-32/openai", "--as", "../up"), 2, "bridge:NAME"),
        (("adapt", "openclip:ViT-B-32/openai", "--plain", "--data", "."), 2, "--plain fits nothing"),
        (("pull", "4M-22"), 2, "4M-21_XL"),
        (("pull", "4M-21_B", "--from", "."), 2, "works only for `encoders`"),
        (("verify", "4M-22"), 2, "4M-22"),
    ],
)
def test_an_error_is_one_line(
    run: Run, arguments: tuple[str, ...], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("models", *arguments, ANYSEEK_HOME=str(tmp_path / "home"))
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert says in line
