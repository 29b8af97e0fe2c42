import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.errors import UnknownModel
from anyseek.model.openclip.files import CONFIG_FILE, WEIGHTS_FILE, folder_of, pulled_models
from anyseek.model.openclip.pull import pull_openclip
from anyseek.model.registry.loading import known_models, load_embedder
from anyseek.model.seam import Sample
from tests.model.openclip.making import CONFIG, make_folder, open_clip_or_skip

NAME = "openclip:small-test/random"
PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.4, 0.4, 0.4], "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An architecture and a tag like those that open_clip lists, its weights in a local file; the tag's record."""
    open_clip_or_skip()
    from open_clip import factory, pretrained

    source = make_folder(tmp_path / "source")
    record: dict[str, Any] = {"file": str(source / WEIGHTS_FILE), "quick_gelu": True, **PREPROCESS}
    monkeypatch.setitem(factory._MODEL_CONFIGS, "small-test", CONFIG)
    monkeypatch.setitem(pretrained._PRETRAINED, "small-test", {"random": record})
    return record


def test_a_published_model_is_made_into_a_folder_once(published: dict[str, Any], tmp_path: Path) -> None:
    made = pull_openclip(NAME, tmp_path)
    assert [path.name for path in made] == [CONFIG_FILE, WEIGHTS_FILE, "pulled.json"]
    assert {path.parent for path in made} == {folder_of(NAME, tmp_path)}
    assert pull_openclip(NAME, tmp_path) == []
    assert pulled_models(tmp_path) == (NAME,)
    assert known_models(tmp_path) == ("4m-tiny", "4m-tiny-open", "hashing", NAME)


def test_a_pulled_model_embeds_as_open_clip_does(published: dict[str, Any], tmp_path: Path) -> None:
    import open_clip
    from PIL import Image

    pull_openclip(NAME, tmp_path)
    network, _, transform = open_clip.create_model_and_transforms("small-test", "random", force_quick_gelu=True)
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    with torch.inference_mode():
        expected = network.eval().encode_image(transform(Image.fromarray(picture))[None], normalize=True)
    found = load_embedder(NAME, tmp_path).embed([Sample({"rgb": picture})], ["open_clip"])["open_clip"]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_weights_trained_with_quick_gelu_get_it(published: dict[str, Any], tmp_path: Path) -> None:
    pull_openclip(NAME, tmp_path)
    config = json.loads((folder_of(NAME, tmp_path) / CONFIG_FILE).read_text())
    assert config["model_cfg"]["quick_gelu"] is True
    assert config["preprocess_cfg"]["resize_mode"] == "squash"


def test_a_download_that_fails_leaves_no_model(published: dict[str, Any], tmp_path: Path) -> None:
    published["file"] = str(tmp_path / "gone.safetensors")
    with pytest.raises(DownloadFailed, match="small-test/random"):
        pull_openclip(NAME, tmp_path)
    assert pulled_models(tmp_path) == ()
    assert not folder_of(NAME, tmp_path).exists()


def test_what_open_clip_does_not_publish_is_refused(published: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="small-test/other"):
        pull_openclip("openclip:small-test/other", tmp_path)
    assert not [path for path in tmp_path.glob("models/openclip/*") if path.name != ".lock"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("openclip:ViT-B-32", "ARCH/PRETRAINED"),
        ("openclip:../../etc/passwd", "ARCH/PRETRAINED"),
        ("openclip:../passwd", "ARCH/PRETRAINED"),
        ("openclip:ViT-B-32/..", "ARCH/PRETRAINED"),
        ("openclip:local-dir:weights/clip", "absolute path"),
        ("openclip:local-dir:", "absolute path"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=says):
        folder_of(name, tmp_path)
