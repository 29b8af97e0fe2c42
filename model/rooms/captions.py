"""Annotations of a view: its objects, their boxes and colours, and captions, every one of which is true."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anyseek.model.data.samples import Caption, Origin
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.rooms.catalogue import BACKGROUND, class_names
from anyseek.model.rooms.mesh import load_mesh
from anyseek.model.rooms.render import CEILING, FLOOR, NOTHING, View
from anyseek.model.rooms.scene import Camera, Placed, Room, Scene, Texture
from anyseek.model.seam import FloatArray, Regions

NAMES = (
    *("black", "white", "grey", "beige", "brown", "red", "orange"),
    *("yellow", "green", "turquoise", "blue", "purple", "pink"),
)
_BLACK, _WHITE, _GREY, _BEIGE, _BROWN, _RED, _ORANGE, _YELLOW, _GREEN, _TURQUOISE, _BLUE, _PURPLE, _PINK = range(13)
UNCLEAR = len(NAMES)
# Hues in degrees at which one colour ends and the next begins.
_HUE_ENDS = (14, 42, 68, 162, 195, 258, 295, 345)
_HUES = np.array([_RED, _ORANGE, _YELLOW, _GREEN, _TURQUOISE, _BLUE, _PURPLE, _PINK, _RED])
_CLEAR = 0.6  # share of a surface that a colour needs to name it
NAMED_SHARE = 0.006  # of the picture that a thing has to be named
NAMED_INSIDE = 0.35  # of the thing that has to be inside the picture
COUNTED_SHARE = 0.0005  # of the picture from which a thing could be noticed, so that counts must not leave it out
MOST_NAMED = 5  # kinds of things in one caption
APART = 0.15  # of the picture's width between the middles of things that are left and right of each other
NEARER = 0.6  # metres between things that are in front of and behind each other
SIDE_SHARE = 0.12  # of the picture that walls or the floor need to be named
LEAST_SHARE = 0.002  # of the picture that a thing has to be labelled
_FLOOR_ID = 2
_JUMP = 0.1  # relative difference of depth between neighbours at which one hides the other
_POINTS = 200  # of a mesh, to tell how much of it is inside the picture


@dataclass(frozen=True)
class Seen:
    """A thing in view. `number` is its place in `Scene.things`; `share` of the picture's pixels that are of it.

    `box` is around its visible pixels, [0, 1]; `depth` the median of theirs in metres; `colour` the name of the colour
    that most of them have without light, if there is one; `inside` the share of the thing that is inside the picture's
    frame, hidden by others or not.
    """

    number: int
    thing: Placed
    share: float
    box: Box
    depth: float
    colour: str | None
    inside: float

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of its box, across and down."""
        return (self.box.xmin + self.box.xmax) / 2, (self.box.ymin + self.box.ymax) / 2


def seen_things(scene: Scene, camera: Camera, view: View) -> tuple[Seen, ...]:
    """All things with a pixel in the picture, the largest first."""
    things = [_seen(scene, camera, view, number) for number in np.unique(view.things[view.things >= 0]).tolist()]
    return tuple(sorted(things, key=lambda seen: (-seen.share, seen.number)))


def labelled_boxes(seen: Sequence[Seen]) -> tuple[LabelledBox, ...]:
    """Boxes of the things that are large enough in the picture, labelled with their classes."""
    return tuple(LabelledBox(item.box, item.thing.furniture.kind.name) for item in seen if item.share >= LEAST_SHARE)


def class_regions(view: View) -> Regions:
    """The class of each pixel."""
    names = class_names()
    return Regions(view.classes, {number: names[number] for number in np.unique(view.classes).tolist()})


def instance_regions(view: View, seen: Sequence[Seen]) -> Regions:
    """0 for the room itself, 1, 2, ... for the things from the largest to the smallest, named by their classes."""
    ids = np.zeros(view.things.shape, np.uint8)
    for place, item in enumerate(seen, start=1):
        ids[view.things == item.number] = place
    return Regions(ids, {place: item.thing.furniture.kind.name for place, item in enumerate(seen, start=1)})


def known_metadata(view: View, seen: Sequence[Seen]) -> Metadata:
    """Fields that only the scene tells; those of pictures, boxes and maps are left to labellers.

    `walkability` is the share of pixels of floor and rugs, `objectness` that of things, `occlusion_score` the share of
    pixels whose neighbour is a tenth nearer or farther.
    """
    labelled = [item for item in seen if item.share >= LEAST_SHARE]
    rugs = [number for number, name in class_names().items() if name == "rug"]
    depth = np.log(view.depth)
    jumps = np.zeros(depth.shape, bool)
    jumps[:-1] |= np.abs(np.diff(depth, axis=0)) > _JUMP
    jumps[:, :-1] |= np.abs(np.diff(depth, axis=1)) > _JUMP
    return Metadata(
        {
            "n_humans": sum(item.thing.furniture.kind.name == "person" for item in labelled),
            "n_sam_instances": len(labelled),
            "walkability": float(np.isin(view.classes, [_FLOOR_ID, *rugs]).mean()),
            "objectness": float((view.classes > len(BACKGROUND)).mean()),
            "occlusion_score": float(jumps.mean()),
        }
    )


def _seen(scene: Scene, camera: Camera, view: View, number: int) -> Seen:
    mask = view.things == number
    top, bottom = np.flatnonzero(mask.any(axis=1))[[0, -1]].tolist()
    left, right = np.flatnonzero(mask.any(axis=0))[[0, -1]].tolist()
    height, width = mask.shape
    thing = scene.things[number]
    corners = load_mesh(thing.furniture).triangles[:, 0].astype(np.float64)
    points = corners[:: max(1, len(corners) // _POINTS)] @ thing.matrix.T + np.array(thing.position)
    across, down, depth = camera.project(points).T
    return Seen(
        number=number,
        thing=thing,
        share=float(mask.mean()),
        box=Box(left / width, top / height, (right + 1) / width, (bottom + 1) / height),
        depth=float(np.median(view.depth[mask])),
        colour=clear_name(view.colours[mask]),
        inside=float(((depth > 0) & (across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)).mean()),
    )


_IRREGULAR = {
    **{"man": "men", "woman": "women", "shelf": "shelves", "loaf": "loaves", "cactus": "cacti"},
    **{noun: f"{noun}es" for noun in ("box", "bench", "couch", "bush", "press", "glass", "sandwich")},
}
_NUMBERS = {0: "some", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}
_HEADS = (" of ", " with ")  # what ends the part of a noun that has the plural


def with_article(words: str) -> str:
    """Such as "a table", "an armchair"."""
    return f"{'an' if words[0] in 'aeiouAEIOU' else 'a'} {words}"


def plural(noun: str) -> str:
    """Such as "tables", "sets of shelves", "office chairs"."""
    for mark in _HEADS:
        if mark in noun:
            head, _, rest = noun.partition(mark)
            return f"{plural(head)}{mark}{rest}"
    first, space, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        return f"{first}{space}{_IRREGULAR[last]}"
    if last.endswith("y") and last[-2] not in "aeiou":
        return f"{first}{space}{last[:-1]}ies"
    return f"{noun}s"


def listed(parts: list[str]) -> str:
    """Such as "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def sentence(words: str) -> str:
    """With a capital and a full stop."""
    return f"{words[0].upper()}{words[1:]}."


_FLOORS = {
    Texture.PLANKS: "wooden floor",
    Texture.TILES: "tiled floor",
    Texture.CHECKS: "chequered floor",
    Texture.CARPET: "carpet",
}
_WALLS = {Texture.STRIPES: "striped walls", Texture.BRICKS: "brick walls", Texture.TILES: "tiled walls"}
_ROOMS = {"bed": "bedroom", "toilet": "bathroom", "bathtub": "bathroom", "fridge": "kitchen", "oven": "kitchen"}


@dataclass(frozen=True)
class Group:
    """Things of one noun and colour that a caption names together. `count` 0 stands for an uncertain number."""

    members: tuple[Seen, ...]
    noun: str
    colour: str | None
    count: int

    @property
    def words(self) -> str:
        """Such as "a red armchair", "two chairs", "some chairs", "a man in blue"."""
        noun = self.noun if self.count == 1 else plural(self.noun)
        if self.colour and self.members[0].thing.furniture.kind.name == "person":
            words = f"{noun} in {self.colour}"
        else:
            words = f"{self.colour} {noun}" if self.colour else noun
        if self.count == 1:
            return with_article(words)
        return f"{_NUMBERS.get(self.count, str(self.count))} {words}"


def compose(room: Room, view: View, seen: Sequence[Seen], random: np.random.Generator) -> tuple[Caption, ...]:
    """About five different captions of a view, the plainest first; none if nothing can be named."""
    if not groups_of(seen, random):
        return ()
    kinds = [item.thing.furniture.kind.name for item in seen if is_named(item)]
    place = with_article(next((_ROOMS[kind] for kind in kinds if kind in _ROOMS), "room"))
    sides = side_words(room, view)

    def words(most: int | None = None) -> str:
        return listed([group.words for group in groups_of(seen, random)[:most]])

    texts = [sentence(words())]
    if related := _related(seen, random):
        texts.append(sentence(related))
    texts.append(sentence(f"{place} with {words(3)}" + (f", {listed(sides)}" if sides else "")))
    groups = groups_of(seen, random)
    chosen = [groups[number] for number in random.permutation(len(groups))[:3].tolist()]
    texts.append(
        sentence(f"there {'is' if chosen[0].count == 1 else 'are'} {listed([group.words for group in chosen])}")
    )
    related = _related(seen, random)
    everything = (f" with {listed(sides)}" if sides else "") + f": {words()}" + (f"; {related}" if related else "")
    texts.append(sentence(place + everything))
    return tuple(Caption(text, Origin.TEMPLATE) for text in dict.fromkeys(texts))


def groups_of(seen: Sequence[Seen], random: np.random.Generator) -> list[Group]:
    """The things to name, the largest first, each with one of its nouns and its colour where that is clear."""
    together: dict[tuple[str, ...], list[Seen]] = defaultdict(list)
    for item in seen:
        if is_named(item):
            together[item.thing.furniture.nouns].append(item)
    groups = []
    for nouns, members in list(together.items())[:MOST_NAMED]:
        noun = nouns[int(random.integers(len(nouns)))]
        colours = {item.colour for item in members}
        colour = next(iter(colours)) if len(colours) == 1 else None
        noticed = sum(noun in item.thing.furniture.nouns and item.share >= COUNTED_SHARE for item in seen)
        uncertain = len(members) > 1 and noticed != len(members)
        groups.append(Group(tuple(members), noun, colour, 0 if uncertain else len(members)))
    return groups


def is_named(item: Seen) -> bool:
    """Whether enough of a thing is in view for it to be recognised."""
    return item.share >= NAMED_SHARE and item.inside >= NAMED_INSIDE


def relation_of(first: Seen, second: Seen) -> str | None:
    """Where the first thing is to the second, as seen in the picture; None if neither clearly."""
    if first.thing.support == second.number:
        return "on"
    across = first.middle[0] - second.middle[0]
    apart = max(first.box.xmin - second.box.xmax, second.box.xmin - first.box.xmax)
    if abs(across) >= APART and apart > -0.05:
        return "left of" if across < 0 else "right of"
    standing = first.thing.furniture.elevation == 0 and second.thing.furniture.elevation == 0
    if standing and apart < -0.02 and abs(first.depth - second.depth) >= NEARER:
        return "in front of" if first.depth < second.depth else "behind"
    return None


_WAYS = {
    "on": ("on", "on top of"),
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}


def _related(seen: Sequence[Seen], random: np.random.Generator) -> str:
    """Such as "a red armchair left of a low table"; empty if no two things are clearly related."""
    single = [group for group in groups_of(seen, random) if group.count == 1]
    pairs = [(a, b) for a in single for b in single if a is not b and relation_of(a.members[0], b.members[0])]
    if not pairs:
        return ""
    first, second = pairs[int(random.integers(len(pairs)))]
    ways = _WAYS[relation_of(first.members[0], second.members[0]) or ""]
    return f"{first.words} {ways[int(random.integers(len(ways)))]} {second.words}"


def side_words(room: Room, view: View) -> list[str]:
    """Such as "blue walls", "a wooden floor": of the walls and the floor, where enough of them is in view."""
    bare = view.things == NOTHING
    walls = bare & (view.sides != FLOOR) & (view.sides != CEILING)
    floor = bare & (view.sides == FLOOR)
    words = []
    if walls.mean() >= SIDE_SHARE:
        words += _covered(
            walls, {room.coverings[side].texture for side in np.unique(view.sides[walls])}, view, _WALLS, "walls"
        )
    if floor.mean() >= SIDE_SHARE:
        floor_words = _covered(floor, {room.coverings[FLOOR].texture}, view, _FLOORS, "floor")
        words += [with_article(word) for word in floor_words]
    return words


def _covered(
    where: npt.NDArray[np.bool_],
    textures: set[Texture],
    view: View,
    names: Mapping[Texture, str],
    noun: str,
) -> list[str]:
    """Such as "blue striped walls"; nothing if neither colour nor texture is clear."""
    name = names.get(next(iter(textures)), noun) if len(textures) == 1 else noun
    colour = clear_name(view.colours[where])
    if colour is None:
        return [name] if name != noun else []
    return [f"{colour} {name}"]


def name_colours(colours: FloatArray) -> npt.NDArray[np.int64]:
    """The index in NAMES of each sRGB colour (n, 3) in [0, 1]: (n,); UNCLEAR for what is neither grey nor a colour."""
    value, low = colours.max(axis=1), colours.min(axis=1)
    chroma = value - low
    saturation = chroma / np.maximum(value, 1e-6)
    (red, green, blue), spread = colours.T, np.maximum(chroma, 1e-6)
    hue = 60 * np.select(
        [value == red, value == green],
        [(green - blue) / spread % 6, (blue - red) / spread + 2],
        (red - green) / spread + 4,
    )
    names = _HUES[np.searchsorted(_HUE_ENDS, hue)]
    warm = (hue >= 6) & (hue < 50)
    names = np.where(warm & (value < 0.7) & (saturation > 0.25), _BROWN, names)
    names = np.where((hue >= 15) & (hue < 60) & (saturation < 0.45) & (value >= 0.7), _BEIGE, names)
    reddish = (hue < 14) | (hue >= 330)
    names = np.where(reddish & (saturation < 0.5) & (value > 0.6), _PINK, names)
    names = np.where((saturation < 0.24) & (names != _BEIGE) & (names != _PINK), UNCLEAR, names)
    grey = np.where(value > 0.8, _WHITE, np.where(value < 0.25, _BLACK, _GREY))
    names = np.where((saturation < 0.14) | (chroma < 0.06), grey, names)
    return np.where(value < 0.16, _BLACK, names)


def clear_name(colours: FloatArray) -> str | None:
    """The colour that most of a surface has, None if no colour has most of it."""
    counts = np.bincount(name_colours(colours), minlength=UNCLEAR + 1)[:UNCLEAR]
    best = int(counts.argmax())
    return NAMES[best] if counts[best] >= _CLEAR * len(colours) else None
