"""What `anyseek demo` asks its collections, as far as the loaded model takes it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from api.wire import Part

OPENMOJI, ROOMS = "openmoji", "rooms"
_ROOM = "test-00014"  # an orange desk, two easy chairs and a red desk lamp


@dataclass(frozen=True)
class Example:
    """A query of a collection, as it is typed and as it is asked."""

    collection: str
    options: str
    parts: tuple[Part, ...]

    def asks_only(self, modalities: Collection[str]) -> bool:
        return all(part.modality in modalities for part in self.parts)


def examples(drawing: Path, rooms: Path) -> list[Example]:
    """All of them; `drawing` is a line drawing of a cat, `rooms` the folder of the gallery."""
    depth, normal = (rooms / modality / f"{_ROOM}.png" for modality in ("depth", "normal"))
    boxes = rooms / "bounding_boxes" / f"{_ROOM}.json"
    dark = '{"brightness": 40}'
    return [
        Example(OPENMOJI, '"a slice of pizza"', (Part("caption", text="a slice of pizza"),)),
        Example(OPENMOJI, f"--sketch {drawing}", (Part("canny_edge", file=drawing),)),
        Example(
            OPENMOJI,
            "heart --palette '#92d3f5'",
            (Part("caption", text="heart"), Part("color_palette", text="#92d3f5")),
        ),
        Example(ROOMS, '"an orange dog"', (Part("caption", text="an orange dog"),)),
        Example(ROOMS, "bed --palette '#2f5fb0'", (Part("caption", text="bed"), Part("color_palette", text="#2f5fb0"))),
        Example(ROOMS, f"--depth {depth}", (Part("depth", file=depth),)),
        Example(ROOMS, f"--normal {normal}", (Part("normal", file=normal),)),
        Example(ROOMS, f"--input boxes={boxes}", (Part("bounding_boxes", file=boxes),)),
        Example(ROOMS, f"'a desk' --input 'metadata={dark}'", (Part("caption", text="a desk"), _metadata(dark))),
    ]


def _metadata(text: str) -> Part:
    return Part("metadata", text=text)
