"""Pulling the pinned file of a short name, from a server that answers as the Hub does."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save

from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.errors import WeightsCorrupt
from anyseek.model.openclip import pull
from anyseek.model.openclip.files import (
    ALIASES,
    PHOTOS,
    RECORD_FILE,
    WEIGHTS_FILE,
    Alias,
    folder_of,
    full_name,
    published_folder,
)
from anyseek.model.registry.loading import load_embedder
from anyseek.model.registry.verification import verify_model
from tests.model.fourm.published.local_hub import COMMIT, LocalHub, serving
from tests.model.openclip.making import CONFIG, open_clip_or_skip

ARCHITECTURE = "anyseek-test"


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    """Random weights of an architecture that open_clip is told of."""
    open_clip = open_clip_or_skip()
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / f"{ARCHITECTURE}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    data: bytes = save(open_clip.create_model(ARCHITECTURE).state_dict())
    return data


@pytest.fixture
def alias(weights: bytes, monkeypatch: pytest.MonkeyPatch) -> Alias:
    tiny = Alias(
        "photos",
        f"openclip:{ARCHITECTURE}/tiny",
        "somebody/tiny",
        WEIGHTS_FILE,
        COMMIT,
        hashlib.sha256(weights).hexdigest(),
        "MIT",
    )
    monkeypatch.setitem(ALIASES, "photos", tiny)
    return tiny


@pytest.fixture
def hub(weights: bytes, alias: Alias) -> Iterator[LocalHub]:
    with serving(LocalHub({(alias.repository, alias.file): weights})) as running:
        yield running


def test_the_short_name_is_pinned_to_a_published_file() -> None:
    assert full_name("photos") == PHOTOS.model
    assert (len(PHOTOS.revision), len(PHOTOS.sha256)) == (40, 64)
    architecture, tag = PHOTOS.model.removeprefix("openclip:").split("/")
    published = open_clip_or_skip().get_pretrained_cfg(architecture, tag)
    assert published["hf_hub"].strip("/") == PHOTOS.repository


def test_it_is_fetched_at_its_revision_recorded_and_loads(hub: LocalHub, alias: Alias, tmp_path: Path) -> None:
    made = pull.pull_openclip("photos", tmp_path, hub.url)
    assert {path.name for path in made} == {WEIGHTS_FILE, RECORD_FILE, "open_clip_config.json"}
    assert all(f"/resolve/{COMMIT}/" in path for _, path, _ in hub.requests[1:] if "resolve" in path)
    record = json.loads((folder_of(alias.model, tmp_path) / RECORD_FILE).read_text())
    assert record["source"] == f"somebody/tiny@{COMMIT}"
    assert record["files"][WEIGHTS_FILE]["sha256"] == alias.sha256
    assert len(load_embedder(alias.model, tmp_path).fingerprint) == 64
    assert pull.pull_openclip("photos", tmp_path, hub.url) == []
    assert not (tmp_path / "models" / "openclip" / ".downloads").exists()


def test_the_record_is_no_part_of_the_fingerprint(hub: LocalHub, alias: Alias, tmp_path: Path) -> None:
    pull.pull_openclip("photos", tmp_path, hub.url)
    before = load_embedder(alias.model, tmp_path).fingerprint
    (folder_of(alias.model, tmp_path) / RECORD_FILE).unlink()
    assert load_embedder(alias.model, tmp_path).fingerprint == before


def test_an_interrupted_download_goes_on(hub: LocalHub, alias: Alias, weights: bytes, tmp_path: Path) -> None:
    hub.dying = True
    with pytest.raises(DownloadFailed):
        pull.pull_openclip("photos", tmp_path, hub.url)
    assert not folder_of(alias.model, tmp_path).exists()
    hub.dying = False
    part = published_folder(tmp_path) / ".downloads" / f"{alias.file}.{alias.sha256[:16]}.part"
    part.write_bytes(weights[:1_000_000])
    pull.pull_openclip("photos", tmp_path, hub.url)
    assert hub.downloads(alias.file)[-1] == "bytes=1000000-"


def test_another_file_than_the_pinned_one_is_not_fetched(
    hub: LocalHub, alias: Alias, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ALIASES, "photos", replace(alias, sha256="0" * 64))
    with pytest.raises(DownloadFailed, match="pinned to 0000"):
        pull.pull_openclip("photos", tmp_path, hub.url)
    assert hub.downloads(alias.file) == []
    assert not folder_of(alias.model, tmp_path).exists()


def test_weights_of_another_architecture_are_refused(
    tmp_path: Path, alias: Alias, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"no tensors"
    monkeypatch.setitem(ALIASES, "photos", replace(alias, sha256=hashlib.sha256(data).hexdigest()))
    with (
        serving(LocalHub({(alias.repository, alias.file): data})) as hub,
        pytest.raises(WeightsCorrupt, match="is no anyseek-test"),
    ):
        pull.pull_openclip("photos", tmp_path, hub.url)
    assert not folder_of(alias.model, tmp_path).exists()


def test_verify_tells_of_a_file_that_changed_since_it_was_pulled(hub: LocalHub, alias: Alias, tmp_path: Path) -> None:
    pull.pull_openclip("photos", tmp_path, hub.url)
    assert verify_model("photos", tmp_path, print) == []
    path = folder_of(alias.model, tmp_path) / WEIGHTS_FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (complaint,) = verify_model("photos", tmp_path, print)
    assert "has changed since it was pulled" in complaint
    assert "anyseek models pull" in complaint
