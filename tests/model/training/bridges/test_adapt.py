"""Making bridges: what they take, what is fitted, and that it is chosen on sources that were left out."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.model.bridges.files import read_record
from anyseek.model.bridges.space import unit
from anyseek.model.data.build import build
from anyseek.model.data.recipe import read_recipe
from anyseek.model.data.samples import Split
from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.errors import BadInput
from anyseek.model.fourm.bundled.layout import INPUTS
from anyseek.model.registry.loading import load_embedder
from anyseek.model.registry.verification import verify_model
from anyseek.model.seam import FloatArray
from anyseek.model.training.bridges import material
from anyseek.model.training.bridges.adapt import BridgeRequest, Fit, adapt, fit_bridge, plain_bridge, trial_lines
from anyseek.model.training.bridges.material import NO_PHOTO, Material, Queries, QueryKind
from tests.model.data.conftest import Silent
from tests.model.openclip.making import make_folder

SIDE = 40


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The model beneath; OpenMoji cannot be fetched."""

    def offline(downloads: Path) -> Path:
        raise DownloadFailed("there is no network")

    monkeypatch.setattr(material, "fetch_wheel", offline)
    return f"openclip:local-dir:{make_folder(tmp_path / 'model')}"


def _own_folder(folder: Path, count: int = 4) -> Path:
    generator = np.random.default_rng(0)
    for name in ("rgb", "depth", "caption"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        pixels = generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "rgb" / f"{number}.png")
        np.save(folder / "depth" / f"{number}.npy", generator.random((SIDE, SIDE), np.float32))
        (folder / "caption" / f"{number}.txt").write_text(f"thing number {number}")
    return folder


def test_it_takes_every_modality_and_tells_what_it_was_fitted_on(base: str, tmp_path: Path) -> None:
    said: list[str] = []
    wanted = BridgeRequest("bridge:mine", base, (_own_folder(tmp_path / "own"),), limit=70)
    record, fit = adapt(wanted, tmp_path, said.append)
    assert record == read_record("bridge:mine", tmp_path)
    assert record.weights.keys() == INPUTS.keys()
    assert record.fitted_on["own"] == "the user's own"
    assert "CC BY 3.0" in record.fitted_on["rooms"]
    assert "left out OpenMoji: there is no network" in said
    modalities = {trial.modality for trial in fit.trials}
    assert modalities >= {"depth", "normal", "semseg", "bounding_boxes", "canny_edge", "color_palette", "metadata"}
    assert len(trial_lines(fit)) == len(fit.trials) + 1
    assert load_embedder("bridge:mine", tmp_path).fingerprint == record.fingerprint
    assert verify_model("bridge:mine", tmp_path, said.append) == []


def test_a_plain_one_needs_no_data(base: str, tmp_path: Path) -> None:
    record, fit = adapt(BridgeRequest("bridge:plain", base, plain=True), tmp_path, pytest.fail)
    assert record.fitted_on == {}
    assert record.weights.keys() == INPUTS.keys() - {"metadata"}
    assert trial_lines(fit) == ()


def test_one_that_is_there_is_replaced_only_on_request(base: str, tmp_path: Path) -> None:
    first, _ = adapt(BridgeRequest("bridge:mine", base, plain=True), tmp_path, print)
    with pytest.raises(BadInput, match="pass --replace"):
        adapt(BridgeRequest("bridge:mine", base, limit=40), tmp_path, print)
    second, _ = adapt(BridgeRequest("bridge:mine", base, limit=40, replace_existing=True), tmp_path, print)
    assert first.fingerprint != second.fingerprint == read_record("bridge:mine", tmp_path).fingerprint


def test_unreadable_samples_are_left_out_and_captions_by_templates_do_not_count(base: str, tmp_path: Path) -> None:
    own = _own_folder(tmp_path / "own")
    (own / "depth" / "2.npy").write_bytes(b"no array")
    for path in (own / "caption").iterdir():
        path.with_suffix(".json").write_text(json.dumps([{"text": path.read_text(), "origin": "template"}]))
        path.unlink()
    said: list[str] = []
    record, fit = adapt(BridgeRequest("bridge:mine", base, (own,), limit=20), tmp_path, said.append)
    assert any(line.startswith("left out 2 of own: ") for line in said)
    assert "own" in record.fitted_on
    assert not len(fit.bridge.maps["caption"].means)


@pytest.mark.parametrize("kind", ["recipe", "shards", "folder"])
def test_own_data_may_be_a_recipe_a_data_set_or_a_folder(kind: str, tmp_path: Path) -> None:
    own = _own_folder(tmp_path / "own")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: mine\nsources:\n  - {{kind: folder, path: {own}, licence: CC0}}\n")
    path = {"recipe": recipe, "folder": own, "shards": tmp_path / "built"}[kind]
    if kind == "shards":
        build(read_recipe(recipe), path, tmp_path, 1, Silent())
    context = material.user_data_context(path, tmp_path)
    assert sum(len(source.keys(Split.TRAIN)) for source in context.sources) > 0


D, PHOTOS = 32, 120


def _rows(seed: int, count: int = PHOTOS) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(count, D)).astype(np.float32)


def _turn(seed: int) -> FloatArray:
    turned: FloatArray = np.linalg.qr(_rows(seed, D))[0].astype(np.float32)
    return turned


SHIFT, TURN = _rows(99, 1) * 3, _turn(98)


def _source(seed: int, turn: FloatArray, noise: float = 0.4) -> tuple[FloatArray, Queries]:
    """Photos, and renderings that lie apart from them and are turned."""
    photos = _rows(seed)
    renderings = unit(photos @ turn + noise * _rows(seed + 50) + SHIFT)
    return unit(photos + 1), Queries(renderings, None, np.arange(PHOTOS))


def _fit(turns: dict[str, FloatArray], modality: str = "depth") -> Fit:
    made = {source: _source(seed, turn) for seed, (source, turn) in enumerate(turns.items())}
    queries = {QueryKind(source, modality): values for source, (_, values) in made.items()}
    photos = {source: rows for source, (rows, _) in made.items()}
    return fit_bridge(Material(photos, {modality: queries}, dict.fromkeys(turns, "CC0")))


def _gains(fit: Fit) -> dict[str, float]:
    """By source how much better than the plain rendering the chosen setting finds."""
    return {trial.source: trial.chosen - (trial.plain or 0.0) for trial in fit.trials}


def test_a_map_that_holds_on_other_sources_is_used() -> None:
    fit = _fit({"a": TURN, "b": TURN, "c": TURN})
    assert fit.bridge.maps["depth"].weight > 0
    assert not any(trial.halves for trial in fit.trials)
    assert _gains(fit).keys() == {"a/depth", "b/depth", "c/depth"}
    assert min(_gains(fit).values()) > 0.3


def test_a_map_that_harms_one_left_out_source_is_not_used() -> None:
    gains = _gains(_fit({"a": TURN, "b": TURN, "odd": np.eye(D, dtype=np.float32)}))
    assert "odd/depth" in gains
    assert min(gains.values()) >= -0.01


def test_with_one_source_a_map_has_little_weight() -> None:
    fit = _fit({"a": TURN})
    assert all(trial.halves for trial in fit.trials)
    assert fit.bridge.maps["depth"].weight <= 0.5


def test_means_by_source_take_off_what_all_renderings_share() -> None:
    straight = np.eye(D, dtype=np.float32)
    fit = _fit({"a": straight, "b": straight})
    modality_map = fit.bridge.maps["depth"]
    assert modality_map.means.shape == (2, D)
    _, queries = _source(7, straight)
    assert queries.renderings is not None
    assert (
        abs(modality_map.directions(queries.renderings, None).mean(axis=0)).max()
        < abs(queries.renderings.mean(axis=0)).max() / 2
    )


def test_what_has_no_photos_serves_for_means_alone() -> None:
    photos, queries = _source(1, TURN)
    assert queries.renderings is not None
    strokes = Queries(unit(_rows(5) + SHIFT), None, np.full(PHOTOS, NO_PHOTO))
    kinds = {QueryKind("a", "canny_edge"): queries, QueryKind("strokes", "line_drawing"): strokes}
    fit = fit_bridge(Material({"a": photos}, {"canny_edge": kinds}, {}))
    assert fit.bridge.maps["canny_edge"].means.shape == (2, D)
    assert {trial.source for trial in fit.trials} == {"a/canny_edge"}


def test_features_without_a_look_become_a_map() -> None:
    photos = {source: unit(_rows(seed)) for seed, source in enumerate("ab")}
    told = {
        QueryKind(source, "metadata"): Queries(None, rows[:, :8] + 0.01, np.arange(PHOTOS))
        for source, rows in photos.items()
    }
    fit = fit_bridge(Material(photos, {"metadata": told}, {}))
    modality_map = fit.bridge.maps["metadata"]
    found = modality_map.directions(None, photos["a"][:, :8] + np.float32(0.01))
    assert (found * unit(photos["a"] * (np.arange(D) < 8))).sum(axis=1).mean() > 0.9


def test_nothing_is_fitted_without_pairs() -> None:
    fit = fit_bridge(Material({"a": unit(_rows(1, 5) + 1)}, {}, {}))
    assert fit.trials == ()
    assert fit.bridge.maps.keys() == plain_bridge(D).maps.keys()
    assert np.linalg.norm(fit.bridge.prior) == pytest.approx(np.linalg.norm(unit(_rows(1, 5) + 1).mean(axis=0)))
