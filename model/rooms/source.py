"""Rooms as a source of samples: a key stands for a scene, a camera in it, and all annotations of the picture."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.model.config import Config, Natural
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import SourceKind
from anyseek.model.data.samples import DataSample, Split
from anyseek.model.rooms.captions import (
    Seen,
    class_regions,
    compose,
    instance_regions,
    known_metadata,
    labelled_boxes,
    seen_things,
)
from anyseek.model.rooms.catalogue import FURNITURE, PACKAGE, Furniture, fingerprint, read_catalogue, split_catalogue
from anyseek.model.rooms.furnish import choose_camera, furnish
from anyseek.model.rooms.render import render
from anyseek.model.rooms.scene import Camera, Room

VERSION = 1  # of the scenes that keys stand for; changes with anything that changes a picture
LICENCE = (
    "renderings of sweethome3d-furniture 1.8: Blend Swap authors (CC0 1.0, CC BY 3.0), Kator Legaz (CC BY 3.0 US), "
    "Reallusion (CC BY 3.0 US), Scopia and eTeks (CC BY 3.0)"
)
_ATTEMPTS = 20  # scenes until one is worth a picture
_LEAST_SIZE = 16  # pixels


class RoomsOptions(Config):
    """`furniture`: the folder of the `.sh3f` files; `train`, `val`, `test`: how many views each split has."""

    furniture: Path = FURNITURE
    train: Natural = 20_000
    val: Natural = 1_000
    test: Natural = 1_000


class RoomsSource:
    """Views of rooms, one a scene. Keys are `<split>-<number>`; a split's things are in no other split.

    A sample has `rgb`, `depth` (metres along the axis), `normal` (camera frame: right, up, towards the viewer),
    `semseg`, `instances`, `bounding_boxes`, `metadata` and `caption`; its attributes say where the camera is, what the
    room is and what is in view.
    """

    licence = LICENCE

    def __init__(self, name: str, options: RoomsOptions, image_size: int) -> None:
        """Raises `SourceUnavailable` if the furniture is not there."""
        if image_size < _LEAST_SIZE:
            raise SourceUnavailable(f"rooms are rendered in {_LEAST_SIZE} pixels or more, not {image_size}")
        read_catalogue(options.furniture)
        self.name = name
        self.origin = f"rooms {VERSION} of {PACKAGE} {fingerprint(options.furniture)} at {image_size} pixels"
        self.furniture = options.furniture
        self._options = options
        self._size = image_size

    def keys(self, split: Split) -> Sequence[str]:
        count: int = getattr(self._options, split.value)
        return [f"{split.value}-{number:05d}" for number in range(count)]

    def sample(self, key: str) -> DataSample:
        try:
            pool = _pool(self.furniture, Split(key.partition("-")[0]))
        except ValueError as error:
            raise SampleInvalid(f"{key!r} is not a key of rooms; a key looks like train-00012") from error
        digest = hashlib.sha256(f"rooms {VERSION} {key}".encode()).digest()
        random = np.random.default_rng(int.from_bytes(digest[:16], "little"))
        for _ in range(_ATTEMPTS):
            scene = furnish(pool, random)
            camera = choose_camera(scene, random)
            if camera is None:
                continue
            view = render(scene, camera, self._size)
            seen = seen_things(scene, camera, view)
            if captions := compose(scene.room, view, seen, random):
                values = {
                    "rgb": view.rgb,
                    "depth": view.depth,
                    "normal": view.normal,
                    "semseg": class_regions(view),
                    "instances": instance_regions(view, seen),
                    "bounding_boxes": labelled_boxes(seen),
                    "metadata": known_metadata(view, seen),
                    "caption": captions,
                }
                return DataSample(key, values, _attributes(scene.room, camera, seen, self._size))
        raise SampleInvalid(f"no room with a visible thing was found for {key} in {_ATTEMPTS} attempts")


@lru_cache(maxsize=8)
def _pool(furniture: Path, split: Split) -> tuple[Furniture, ...]:
    return split_catalogue(read_catalogue(furniture))[split]


def _attributes(room: Room, camera: Camera, seen: Sequence[Seen], size: int) -> dict[str, Any]:
    """Attributes in plain numbers: metres and degrees."""
    angles = {name: round(float(np.rad2deg(value)), 2) for name, value in asdict(camera).items() if name != "position"}
    things = [
        {
            "object": item.thing.furniture.id,
            "class": item.thing.furniture.kind.name,
            "noun": item.thing.furniture.nouns[0],
            "colour": item.colour,
            "share": round(item.share, 4),
            "depth": round(item.depth, 3),
        }
        for item in seen
    ]
    return {
        "medium": "rendering",
        "tags": list(dict.fromkeys(thing["class"] for thing in things)),
        "original_width": size,
        "original_height": size,
        "camera": {"position": [round(part, 3) for part in camera.position], **angles},
        "room": {"kind": room.kind, "size": [round(part, 3) for part in room.size]},
        "things": things,
    }


ROOMS = SourceKind(lambda name, options, place: RoomsSource(name, options, place.image_size), RoomsOptions)
