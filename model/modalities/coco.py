"""The 133 classes of published segmentation maps: COCO's panoptic categories, in the order of their numbers there.

A published label is the class's place in this list plus 1; label 0 is none.
"""

import re
from collections.abc import Mapping

_THINGS = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)
_STUFF = (
    "banner, blanket, bridge, cardboard, counter, curtain, door-stuff, floor-wood, flower, fruit, gravel, house, "
    "light, mirror-stuff, net, pillow, platform, playingfield, railroad, river, road, roof, sand, sea, shelf, snow, "
    "stairs, tent, towel, wall-brick, wall-stone, wall-tile, wall-wood, water-other, window-blind, window-other, "
    "tree-merged, fence-merged, ceiling-merged, sky-other-merged, cabinet-merged, table-merged, floor-other-merged, "
    "pavement-merged, mountain-merged, grass-merged, dirt-merged, paper-merged, food-other-merged, "
    "building-other-merged, rock-merged, wall-other-merged, rug-merged"
)
THINGS, STUFF = tuple(_THINGS.split(", ")), tuple(_STUFF.split(", "))
CLASSES = THINGS + STUFF
LABELS: Mapping[int, str] = dict(enumerate(CLASSES, start=1))
_QUALIFIERS = re.compile(r"-(merged|other-merged|other|stuff)$")


def label_of(name: str) -> int | None:
    """The label of a class name, also without COCO's qualifiers (`sky`, `tree`, `water`); None if it is unknown."""
    return _NUMBERS.get(name.strip().lower())


# names as COCO writes them win over shortened ones
_NUMBERS = {_QUALIFIERS.sub("", name): label for label, name in LABELS.items()}
_NUMBERS |= {name: label for label, name in LABELS.items()}
