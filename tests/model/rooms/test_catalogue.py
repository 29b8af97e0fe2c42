import zipfile
from collections import Counter
from pathlib import Path

import pytest

from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.data.samples import Split
from anyseek.model.rooms.catalogue import (
    LICENCES,
    class_names,
    fingerprint,
    object_classes,
    read_catalogue,
    split_catalogue,
)

PLACES = {"free", "wall", "table", "ceiling", "rug"}


def test_the_table_of_classes_is_whole() -> None:
    classes = object_classes()
    assert [kind.number for kind in classes.values()] == list(range(4, 4 + len(classes)))
    assert all(PLACES.issuperset(kind.places) and kind.rooms for kind in classes.values())
    assert len(set(class_names().values())) == len(class_names()) == len(classes) + 3


def test_objects_have_sizes(furniture: Path) -> None:
    catalogue = read_catalogue(furniture)
    assert len({item.id for item in catalogue}) == len(catalogue) > 450
    assert all(0 < length < 4 for item in catalogue for length in item.size)


def test_splits_share_no_object_and_hold_out_only_classes_that_are_trained_on(furniture: Path) -> None:
    catalogue = read_catalogue(furniture)
    parts = split_catalogue(catalogue)
    assert sorted(item.id for part in parts.values() for item in part) == sorted(item.id for item in catalogue)
    classes = {split: Counter(item.kind.name for item in part) for split, part in parts.items()}
    assert classes[Split.VAL].keys() == classes[Split.TEST].keys() < classes[Split.TRAIN].keys()
    assert all(classes[Split.TRAIN][name] > count for name, count in classes[Split.TEST].items())
    assert 0.6 < len(parts[Split.TRAIN]) / len(catalogue) < 0.8


def test_the_fingerprint_tells_other_archives_apart(furniture: Path, tmp_path: Path) -> None:
    assert fingerprint(furniture) == fingerprint(furniture)
    for library in LICENCES:
        with zipfile.ZipFile(tmp_path / f"{library}.sh3f", "w") as archive:
            archive.writestr("a.txt", library)
    assert fingerprint(tmp_path) != fingerprint(furniture)


def test_missing_furniture_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="apt-get install sweethome3d-furniture"):
        read_catalogue(tmp_path)
    (tmp_path / "BlendSwap-CC-0.sh3f").write_bytes(b"no archive")
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        fingerprint(tmp_path)


def test_a_split_stays_when_another_class_goes(furniture: Path) -> None:
    catalogue = read_catalogue(furniture)
    fewer = [item for item in catalogue if item.kind.name != "chair"]
    before = {item.id for item in split_catalogue(catalogue)[Split.TEST] if item.kind.name != "chair"}
    assert before == {item.id for item in split_catalogue(fewer)[Split.TEST]}
