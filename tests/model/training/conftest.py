"""A store of a few training rows with random features, as `prepare` would have written it."""

import numpy as np
import pytest

from model.training.concepts import Split
from model.training.rows import DRAWING, PICTURE, Row
from model.training.store import Store, Texts, unit

SUBJECTS = ("noto:1F355", "openmoji:1F355", "openmoji:1F34E", "photo:000001")


@pytest.fixture(scope="session")
def store() -> Store:
    generator = np.random.default_rng(0)
    rows = []
    for subject in SUBJECTS:
        source, _, key = subject.partition(":")
        group = "photo:apple" if source == "photo" else key
        rows.append(Row(source, key, subject, group, PICTURE, "plain"))
        rows.append(Row(source, key, subject, group, DRAWING, "line"))
    rows.append(Row("openmoji", "2615", "openmoji:2615", "2615", PICTURE, "plain", Split.DEVELOPMENT))
    rows.append(Row("openmoji", "2615", "openmoji:2615", "2615", DRAWING, "line", Split.DEVELOPMENT))
    size = len(rows)
    return Store(
        rows,
        generator.normal(size=(size, 49, 256)).astype(np.float16),
        unit(generator.random((size, 1280)).astype(np.float32)),
        generator.normal(size=(size, 1000)).astype(np.float16),
        generator.integers(0, 256, (size, 7, 7, 3)).astype(np.uint8),
        {
            n: (5, unit(generator.random((1, 1280)).astype(np.float32))[0])
            for n, row in enumerate(rows)
            if row.domain == PICTURE and row.source != "photo"
        },
    )


@pytest.fixture(scope="session")
def texts() -> Texts:
    generator = np.random.default_rng(1)
    offsets = np.array([0, 3, 7, 12, 40])
    return Texts(
        generator.normal(size=(40, 384)).astype(np.float16),
        offsets,
        unit(generator.normal(size=(4, 384)).astype(np.float32)),
        unit(generator.normal(size=(1000, 384)).astype(np.float32)),
        {"noto:1F355": [0, 1], "openmoji:1F355": [0, 1], "openmoji:1F34E": [2], "openmoji:2615": [3]},
    )
