"""The classes of usual segmentation data sets: ids, names, and colours where the data set has its own.

Names, numbers and colours are facts of the data sets, as their makers publish them: COCO's panopticapi
(`panoptic_coco_categories.json`), MIT's SceneParsing of ADE20K (`objectInfo150.txt`), the VOC development kit
(`VOClabelcolormap.m`) and cityscapesScripts (`labels.py`). Nothing else of them is here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from anyseek.model.modalities import coco

Colour = tuple[int, int, int]

# The colour #rrggbb is the id COLOUR + 0xrrggbb, so that a legend of colours and names of ids are one kind of thing.
COLOUR = 1 << 24


@dataclass(frozen=True)
class ClassTable:
    """The names of a data set's ids, and the colours of ids; `void` ids stand for no class."""

    title: str
    names: Mapping[int, str]
    void: frozenset[int] = frozenset({0})
    colours: Mapping[Colour, int] = field(default_factory=dict)


_MISSING = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # numbers of COCO's things that were never used
_COCO_STUFF = (
    "92 93 95 100 107 109 112 118 119 122 125 128 130 133 138 141 144 145 147 148 149 151 154 155 156 159 161 166 168 "
    "171 175 176 177 178 180 181 184 185 186 187 188 189 190 191 192 193 194 195 196 197 198 199 200"
)
_COCO_IDS = [number for number in range(1, 91) if number not in _MISSING] + [int(word) for word in _COCO_STUFF.split()]

_ADE20K = (
    "wall, building, sky, floor, tree, ceiling, road, bed, window, grass, cabinet, sidewalk, person, earth, door, "
    "table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, "
    "armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, "
    "chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, "
    "case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, "
    "book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, "
    "hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television, airplane, "
    "dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, "
    "fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, "
    "minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, "
    "screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, "
    "monitor, bulletin board, shower, radiator, glass, clock, flag"
)
_VOC = (
    "aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, dining table, dog, horse, motorbike, person, "
    "potted plant, sheep, sofa, train, tv"
)
# The id, the name and the colour; ids below 5 stand for nothing in particular.
_CITYSCAPES = """
5 dynamic 6f4a00, 6 ground 510051, 7 road 804080, 8 sidewalk f423e8, 9 parking faaaa0, 10 rail track e6968c,
11 building 464646, 12 wall 66669c, 13 fence be9999, 14 guard rail b4a5b4, 15 bridge 966464, 16 tunnel 96785a,
17 pole 999999, 18 polegroup 999999, 19 traffic light faaa1e, 20 traffic sign dcdc00, 21 vegetation 6b8e23,
22 terrain 98fb98, 23 sky 4682b4, 24 person dc143c, 25 rider ff0000, 26 car 00008e, 27 truck 000046, 28 bus 003c64,
29 caravan 00005a, 30 trailer 00006e, 31 train 005064, 32 motorcycle 0000e6, 33 bicycle 770b20
"""
_TRAINED = (
    "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person, "
    "rider, car, truck, bus, train, motorcycle, bicycle"
)


def _numbered(names: str, first: int = 1) -> dict[int, str]:
    return dict(enumerate((name.strip() for name in names.split(",")), start=first))


def _voc_colour(number: int) -> Colour:
    """The bits of the number, three at a time, from the highest bit of red, green and blue downwards."""
    channels = [sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
    return channels[0], channels[1], channels[2]


def _cityscapes() -> ClassTable:
    names, colours = {}, {(0, 0, 0): 0}
    for entry in _CITYSCAPES.strip().split(","):
        number, *words, colour = entry.split()
        names[int(number)] = " ".join(words)
        red, green, blue = bytes.fromhex(colour)
        colours.setdefault((red, green, blue), int(number))
    return ClassTable("Cityscapes' ids", names, frozenset(range(5)), colours)


_VOC_COLOURS = {_voc_colour(number): number for number in range(21)} | {(224, 224, 192): 255}

TABLES: Mapping[str, ClassTable] = {
    "coco": ClassTable("COCO's category ids", dict(zip(_COCO_IDS, coco.CLASSES, strict=True)), frozenset({0, 255})),
    "coco-panoptic": ClassTable("COCO's 133 panoptic classes in order", coco.LABELS, frozenset({0, 255})),
    "ade20k": ClassTable("the 150 classes of ADE20K", _numbered(_ADE20K)),
    "voc": ClassTable("Pascal VOC's 20 classes", _numbered(_VOC), frozenset({0, 255}), _VOC_COLOURS),
    "cityscapes": _cityscapes(),
    "cityscapes-train": ClassTable("Cityscapes' 19 trained classes", _numbered(_TRAINED, 0), frozenset({255})),
}
