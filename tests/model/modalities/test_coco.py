"""Class names of published segmentation maps."""

from anyseek.model.modalities.coco import CLASSES, LABELS, STUFF, THINGS, label_of


def test_there_are_80_things_and_53_stuffs() -> None:
    assert (len(THINGS), len(STUFF), len(set(CLASSES))) == (80, 53, 133)
    assert sorted(LABELS) == list(range(1, 134))  # 0 is none


def test_every_name_is_its_own_label() -> None:
    assert {name: label_of(name) for name in CLASSES} == {name: label for label, name in LABELS.items()}


def test_shortened_names_are_known() -> None:
    found = {name: LABELS[label_of(name) or 0] for name in ("sky", " Tree", "water", "food", "door", "floor")}
    assert found == {
        "sky": "sky-other-merged",
        " Tree": "tree-merged",
        "water": "water-other",
        "food": "food-other-merged",
        "door": "door-stuff",
        "floor": "floor-other-merged",
    }
    assert label_of("unicorn") is None
