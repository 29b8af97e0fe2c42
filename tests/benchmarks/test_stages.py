"""The stages of a photo are told apart, with every encoder that is there, and beside another shape."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from anyseek.model.encoders.compiled import is_installed
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.errors import WeightsMissing
from anyseek.model.home import default_home
from anyseek.model.network.packing import PackedLinear
from anyseek.model.seam import Sample
from benchmarks.ingest.vit import VitShape

ROOT = Path(__file__).parents[2]


def test_the_other_shape_is_that_of_vit_b_32() -> None:
    network = VitShape()
    matrices = sum(part.weight.numel() for part in network.modules() if isinstance(part, nn.Linear | PackedLinear))
    assert matrices == 12 * 12 * 768**2 + 768 * 512
    pictures = [Sample({"rgb": np.random.default_rng(n).integers(0, 256, (40, 60, 3), np.uint8)}) for n in range(17)]
    found = network.embed_gallery(pictures, ["clip"])["clip"]
    assert found.shape == (17, 512)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert not np.allclose(found[0], found[1])


@pytest.mark.slow
def test_every_stage_and_way_is_printed() -> None:
    try:
        check_encoders(default_home())
    except WeightsMissing as error:
        pytest.skip(str(error))
    command = [
        sys.executable,
        "-m",
        "benchmarks.ingest.stages",
        "--json",
        "--small",
        "3",
        "--large",
        "1",
        "--rounds",
        "1",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    report = json.loads(done.stdout)
    encoders = ["plain torch", "fused", *(["OpenVINO"] if is_installed() else [])]
    for size in ("small", "large"):
        stages = report[size]["ms"]
        assert [name.removeprefix("encoder, ") for name in stages if name.startswith("encoder, ")] == encoders
        assert all(stages[name] > 0 for name in ("decode", "thumbnail", "colours", "embedding in all, as installed"))
        rates = report[size]["rates"]
        ways = [f"{way}, {name}" for name in encoders for way in ("bare loop", "indexer")]
        assert list(rates) == [*ways, "bare loop of a ViT-B/32 shape"]
        assert all(0 < rate["least"] <= rate["median"] <= rate["most"] for rate in rates.values())
    assert report["large"]["ms"]["decode"] > report["small"]["ms"]["decode"]
