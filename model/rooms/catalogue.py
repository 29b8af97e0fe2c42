"""The furniture of Debian's package `sweethome3d-furniture` that rooms are made of, with its licences and makers.

The package's `.sh3f` files are zip archives: a properties file, and a folder of OBJ, MTL and pictures for each object.
`classes.tsv` lists the classes, where they stand and in which rooms; `objects.tsv` the objects in use, by hand.
"""

import csv
import hashlib
import re
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.data.samples import Split

PACKAGE = "sweethome3d-furniture"
FURNITURE = Path("/usr/share/sweethome3d/furniture")  # where Debian puts it
CLASSES = Path(__file__).with_name("classes.tsv")
OBJECTS = Path(__file__).with_name("objects.tsv")
LICENCES = {
    "BlendSwap-CC-0": "CC0 1.0",
    "BlendSwap-CC-BY": "CC BY 3.0",
    "KatorLegaz": "CC BY 3.0 US",
    "Reallusion": "CC BY 3.0 US",
    "Scopia": "CC BY 3.0",
}

FLAT = frozenset({"window", "door"})  # classes made to fill a hole in a wall; here they are put upon it
_FLAT_DEPTH = 0.12  # metres of them that stand out
_PROPERTIES = "PluginFurnitureCatalog.properties"
_PROPERTY = re.compile(r"(\w+)#(\d+)\s*=\s*(.*)")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_HELD_OUT = 0.15  # of a class's objects for each of validation and test
_SPLITTABLE = 4  # objects; the objects of a smaller class are for training alone


@dataclass(frozen=True)
class ObjectClass:
    """A class of objects: its id in class maps, where its objects stand and in which rooms.

    `places`: "free" on the floor, "wall" with the back to a wall, "table" on something, "ceiling", "rug" flat on the
    floor below the others. `painted`: whether other colours than its own are plausible.
    """

    number: int
    name: str
    places: tuple[str, ...]
    rooms: tuple[str, ...]
    painted: bool


@dataclass(frozen=True)
class Furniture:
    """One object. `size` is width, height and depth in metres, `elevation` the height of its base above the floor.

    `rotation` is a row-major 3 x 3 matrix to be applied to the model. `nouns` are words for it, any of them true.
    """

    id: str
    kind: ObjectClass
    nouns: tuple[str, ...]
    size: tuple[float, float, float]
    elevation: float
    rotation: tuple[float, ...]
    archive: Path
    model: str


BACKGROUND = {1: "wall", 2: "floor", 3: "ceiling"}  # class ids of the room itself; objects' follow


@lru_cache(maxsize=1)
def object_classes() -> Mapping[str, ObjectClass]:
    """All classes by name, in the order of their ids."""
    with CLASSES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {
        row["class"]: ObjectClass(
            number, row["class"], _words(row["places"]), _words(row["rooms"]), row["painted"] == "yes"
        )
        for number, row in enumerate(rows, start=len(BACKGROUND) + 1)
    }


def class_names() -> dict[int, str]:
    """The name of each id in class maps."""
    return {**BACKGROUND, **{kind.number: kind.name for kind in object_classes().values()}}


@lru_cache(maxsize=4)
def read_catalogue(folder: Path = FURNITURE) -> tuple[Furniture, ...]:
    """The objects of `objects.tsv` in its order. Raises `SourceUnavailable` if the package is not in `folder`."""
    with OBJECTS.open(encoding="utf-8", newline="") as file:
        used = {row["object"]: row for row in csv.DictReader(file, delimiter="\t")}
    objects: dict[str, Furniture] = {}
    for library in LICENCES:
        archive = folder / f"{library}.sh3f"
        for properties in _read_properties(archive):
            if row := used.get(properties["id"]):
                kind = object_classes()[row["class"]]
                objects[properties["id"]] = _furniture(properties, kind, _words(row["nouns"]), archive)
    if missing := sorted(used.keys() - objects.keys()):
        raise SourceUnavailable(
            f"{folder} lacks {len(missing)} objects such as {missing[0]!r}; {PACKAGE} 1.8 contains them"
        )
    return tuple(objects[id_] for id_ in used)


def split_catalogue(furniture: Sequence[Furniture]) -> dict[Split, tuple[Furniture, ...]]:
    """Each class's objects in three parts that share none: about 70% train, 15% validation, 15% test.

    The order that decides is a hash of the ids, so it stays when other classes change.
    """
    classes: dict[str, list[Furniture]] = defaultdict(list)
    for item in furniture:
        classes[item.kind.name].append(item)
    parts: dict[Split, list[Furniture]] = {split: [] for split in Split}
    for members in classes.values():
        members.sort(key=lambda item: hashlib.sha256(item.id.encode()).digest())
        held_out = max(1, round(_HELD_OUT * len(members))) if len(members) >= _SPLITTABLE else 0
        parts[Split.TEST] += members[:held_out]
        parts[Split.VAL] += members[held_out : 2 * held_out]
        parts[Split.TRAIN] += members[2 * held_out :]
    return {split: tuple(members) for split, members in parts.items()}


def fingerprint(folder: Path = FURNITURE) -> str:
    """sha256 over names, sizes and checksums of all files in the archives. Raises `SourceUnavailable`."""
    digest = hashlib.sha256()
    for library in LICENCES:
        with _open(folder / f"{library}.sh3f") as archive:
            for member in sorted(archive.infolist(), key=lambda info: info.filename):
                digest.update(f"{library}/{member.filename} {member.file_size} {member.CRC}\n".encode())
    return digest.hexdigest()


def _open(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except FileNotFoundError as error:
        raise SourceUnavailable(f"{archive} is missing: apt-get install {PACKAGE} puts it there") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise SourceUnavailable(f"{archive} cannot be read: {error}; apt-get install --reinstall {PACKAGE}") from error


def _read_properties(archive: Path) -> list[dict[str, str]]:
    """The properties of all objects of an archive."""
    with _open(archive) as file:
        text = file.read(_PROPERTIES).decode("latin-1")
    objects: dict[int, dict[str, str]] = defaultdict(dict)
    for line in text.splitlines():
        if match := _PROPERTY.fullmatch(line.strip()):
            objects[int(match[2])][match[1]] = _ESCAPE.sub(lambda code: chr(int(code[1], 16)), match[3].strip())
    return [properties for properties in objects.values() if "id" in properties]


def _furniture(properties: Mapping[str, str], kind: ObjectClass, nouns: tuple[str, ...], archive: Path) -> Furniture:
    width, height, depth = (float(properties[name]) / 100 for name in ("width", "height", "depth"))
    if kind.name in FLAT:
        depth = min(depth, _FLAT_DEPTH)
    rotation = properties.get("modelRotation", "1 0 0 0 1 0 0 0 1")
    return Furniture(
        id=properties["id"],
        kind=kind,
        nouns=nouns,
        size=(width, height, depth),
        elevation=float(properties.get("elevation", 0)) / 100,
        rotation=tuple(float(number) for number in rotation.split()),
        archive=archive,
        model=properties["model"].lstrip("/"),
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))
