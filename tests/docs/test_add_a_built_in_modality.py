"""CONTRIBUTING says what a built-in modality takes; here `thermal`, alias `heat`, is added with exactly these rows.

A row in `anyseek.model.modalities.registry`, and one in `anyseek.model.fourm.bundled.layout` for bundled networks that
take it. Index, query, page and training data then know it. (`tests/model/fourm/published/test_new_modality.py` has the
rows of published networks.)
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from anyseek.api.app import create_app
from anyseek.api.cli import run
from anyseek.api.service import Service, ServiceSettings
from anyseek.indexer.aligned import read_aligned
from anyseek.model.data.contents import downscale, stored_content
from anyseek.model.data.samples import Shares, Split
from anyseek.model.data.sources.folder import FolderOptions, FolderSource
from anyseek.model.fourm.bundled.layout import INPUTS, BundledInput
from anyseek.model.modalities import registry
from anyseek.model.modalities.registry import PICTURE_SUFFIXES, Content, Modality
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.encoders import link_encoders
from tests.random_bundle import write_random_bundle

COLOURS = {"cold": (30, 30, 90), "warm": (240, 180, 60), "mild": (120, 120, 120)}


@pytest.fixture(autouse=True)
def _rows(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Modality("thermal", Content.PICTURE, "a picture of a thermal camera", ("heat",), PICTURE_SUFFIXES)
    monkeypatch.setitem(registry.MODALITIES, row.name, row)
    monkeypatch.setitem(registry._ALIASES, "heat", row.name)
    monkeypatch.setitem(INPUTS, row.name, BundledInput("thermal_map", is_seen=True))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bundled network of random weights that takes thermal pictures too, in a data directory of its own."""
    link_encoders(tmp_path / "home")
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path / "home"))
    write_random_bundle(tmp_path / "4m-thermal")
    return str(tmp_path / "4m-thermal")


def _picture(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name)).integers(0, 40, (60, 80, 3))
    Image.fromarray((noise + np.array(COLOURS[name]) // 2).astype(np.uint8)).save(path)


@pytest.fixture
def aligned(tmp_path: Path) -> Path:
    """A folder for each modality, the thermal one by its alias."""
    for name in COLOURS:
        _picture(tmp_path / "aligned" / "rgb" / f"{name}.png", name)
        _picture(tmp_path / "aligned" / "heat" / f"{name}.png", name)
    return tmp_path / "aligned"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures whose sidecars name thermal pictures."""
    for name in COLOURS:
        _picture(tmp_path / "photos" / f"{name}.jpg", name)
        _picture(tmp_path / "photos" / f"{name}.heat.png", name)
        sidecar = {"modalities": {"heat": f"{name}.heat.png"}}
        (tmp_path / "photos" / f"{name}.json").write_text(json.dumps(sidecar))
    return tmp_path / "photos"


@pytest.mark.slow
def test_a_sidecar_names_it_a_query_takes_it_and_the_page_offers_it(
    photos: Path, model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["index", str(photos), "--collection", "c", "--model", model]) == 0
    capfd.readouterr()
    assert run(["query", "--collection", "c", "--input", f"heat={photos}/warm.heat.png", "--json"]) == 0
    hits = json.loads(capfd.readouterr().out)["hits"]
    assert {hit["key"] for hit in hits} == {f"{name}.jpg" for name in COLOURS}
    with Runtime.open(Settings(tmp_path / "home"), model) as runtime:
        app = create_app(Service(runtime, ServiceSettings()))
        with TestClient(app, base_url="http://127.0.0.1") as http:
            while http.get("/readyz").status_code != 200:
                time.sleep(0.05)
            item = http.get("/v1/collections/c/items/warm.jpg").json()
            assert "thermal" in {asset["name"] for asset in item["assets"]}
            (offered,) = http.get("/v1/models").json()["models"]  # what the page's menus are made of
            assert "thermal" in offered["modalities"]


def test_an_aligned_folder_to_evaluate_on_has_it(aligned: Path) -> None:
    (first, *_) = read_aligned(aligned, Settings(aligned.parent), None).samples
    assert first.values.keys() == {"rgb", "thermal"}


def test_training_data_have_it(aligned: Path) -> None:
    source = FolderSource("mine", FolderOptions(path=aligned, licence="CC0"), Shares(val=0.0, test=0.0))
    sample = downscale(source.sample("warm"), 30)
    assert list(source.keys(Split.TRAIN)) == sorted(COLOURS)
    assert sample.values["thermal"].shape == (30, 40, 3)
    stored = stored_content("thermal")
    _, data = stored.encode(sample.values["thermal"])
    assert stored.decode(data).shape == (30, 40, 3)
