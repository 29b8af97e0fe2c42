"""Depth, normals and regions by the released weights, on views that ship with the demo; their rooms are for tests."""

from typing import Any

import numpy as np
import pytest

from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.predict import predict
from anyseek.model.registry.loading import load_model
from anyseek.model.seam import Predictor
from anyseek.search.evaluation.outputs import depth_error, normal_error, resample_to
from tests.model.pulled import HOME, or_skip

VIEWS = 12


@pytest.fixture(scope="module", params=["4m-tiny", "4m-tiny-open"])
def model(request: pytest.FixtureRequest) -> Predictor:
    with or_skip():
        return load_model(request.param, HOME)


def _value(view: dict[str, Any], modality: str, file: str) -> Any:
    return decode_file(modality, FOLDER / file, FileLimits())


def test_depth_and_normals_of_rooms_show_what_is_there(model: Predictor) -> None:
    errors, angles, slopes = [], [], []
    for view in read_views()[:VIEWS]:
        given = {"rgb": _value(view, "rgb", view["file"])}
        found = predict(given, ["depth", "normal"], model=model)
        depth, normal = (_value(view, name, view["modalities"][name]) for name in ("depth", "normal"))
        said = np.asarray(found["depth"].value)
        errors.append(depth_error(said, depth)["abs_rel"])
        angles.append(normal_error(np.asarray(found["normal"].value), normal)["mean_degrees"])
        slopes.append(np.corrcoef(said.ravel(), resample_to(depth, said.shape).ravel())[0, 1])
    assert np.mean(errors) < 0.15
    assert np.mean(angles) < 24
    assert min(slopes) > 0, "what is far is large"
