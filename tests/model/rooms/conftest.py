"""Boxes as furniture, for rooms whose every pixel can be told beforehand, and Debian's furniture where it is there."""

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from anyseek.model.rooms.catalogue import FURNITURE, Furniture, ObjectClass
from anyseek.model.rooms.scene import Covering, Light, Placed, Room, Scene, Texture

Boxes = Callable[..., Furniture]

CORNERS = [(x, y, z) for x in (-1, 1) for y in (0, 1) for z in (-1, 1)]
QUADS = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]
PLAIN = Covering(Texture.PLAIN, (0.9, 0.9, 0.9), (0.9, 0.9, 0.9), 1.0, 0)


@pytest.fixture
def make_box(tmp_path: Path) -> Boxes:
    """Makes a box of a class, `size` in metres (width, height, depth) and one sRGB colour."""

    def make(
        name: str,
        size: tuple[float, float, float] = (1.0, 1.0, 1.0),
        colour: tuple[float, float, float] = (0.8, 0.1, 0.1),
        nouns: tuple[str, ...] = (),
        elevation: float = 0.0,
    ) -> Furniture:
        archive = tmp_path / f"{name}.sh3f"
        vertices = "\n".join(f"v {x} {y} {z}" for x, y, z in CORNERS)
        faces = "\n".join(f"f {quad}" for quad in QUADS)
        with ZipFile(archive, "w") as file:
            file.writestr("box/box.obj", f"mtllib box.mtl\n{vertices}\nusemtl paint\n{faces}\n")
            file.writestr("box/box.mtl", f"newmtl paint\nKd {' '.join(map(str, colour))}\nd 1\n")
        kind = ObjectClass(4, name, ("free",), ("living",), True)
        identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        return Furniture(name, kind, nouns or (name,), size, elevation, identity, archive, "box/box.obj")

    return make


@pytest.fixture
def embree() -> None:
    """Skips where there is no Embree."""
    pytest.importorskip("embreex", reason="embreex is not installed (extra `data`)")


@pytest.fixture(scope="session")
def furniture() -> Path:
    """The folder of Debian's furniture; skips where it or Embree is not installed."""
    pytest.importorskip("embreex", reason="embreex is not installed (extra `data`)")
    if not (FURNITURE / "Scopia.sh3f").exists():
        pytest.skip("Debian's package sweethome3d-furniture is not installed")
    return FURNITURE


def room_with(*things: Placed, size: tuple[float, float, float] = (6.0, 3.0, 8.0)) -> Scene:
    """A plain white room with a lamp in the middle."""
    lamp = Light((size[0] / 2, size[1] - 0.1, size[2] / 2), (1.0, 1.0, 1.0))
    return Scene(Room("living", size, (PLAIN,) * 6), things, (lamp,), 0.4)
