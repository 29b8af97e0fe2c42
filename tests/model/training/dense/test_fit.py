"""A decoder is fitted to a few samples, goes on where it stopped, and takes its place in a bundle."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from anyseek.model.data.samples import Split
from anyseek.model.encoders.efficientnet import EfficientNetLite0
from anyseek.model.errors import WeightsCorrupt
from anyseek.model.fourm.bundled.bundle import MANIFEST, fingerprint, load_bundle
from anyseek.model.fourm.bundled.dense_decoder import FILE, SEEN, DenseDecoder, save_decoder
from anyseek.model.training.dense.bundling import add_decoder
from anyseek.model.training.dense.bundling import main as bundling
from anyseek.model.training.dense.features import DenseMaker
from anyseek.model.training.dense.fit import EVALUATION, Schedule, fit_decoder
from anyseek.model.training.dense.material import Material
from tests.model.training.dense.test_features import LABELS, room
from tests.random_bundle import random_decoder, write_random_bundle

SCHEDULE = Schedule(steps=6, batch=4, warm_up=2, evaluate_every=3)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    torch.manual_seed(0)
    encoder = EfficientNetLite0().eval()
    save_file(DenseMaker(encoder, LABELS).make([room("a"), room("b")]), folder / "train-000000.safetensors")
    save_file(DenseMaker(encoder, LABELS, every=True).make([room("c")]), folder / "val-000000.safetensors")
    return folder


def _fit(
    features: Path, to: Path, schedule: Schedule = SCHEDULE, say: Callable[[str], object] = lambda line: None
) -> DenseDecoder:
    to.mkdir(exist_ok=True)
    torch.manual_seed(0)
    training, validation = (Material([features], split) for split in (Split.TRAIN, Split.VAL))
    return fit_decoder(DenseDecoder(6), training, validation, schedule, to, say)


def test_material_is_mirrored_with_what_is_seen(features: Path) -> None:
    plain, mirrored = (Material([features], Split.TRAIN).batch([place]) for place in (0, 1))
    torch.testing.assert_close(mirrored.depth, plain.depth.flip(2))
    torch.testing.assert_close(mirrored.semseg, plain.semseg.flip(2))
    assert (plain.normal[:, 0] > 0.9).all()
    assert (mirrored.normal[:, 0] < -0.9).all()
    assert len(Material([features, features], Split.TRAIN)) == 12
    with pytest.raises(FileNotFoundError, match="no features of the split test"):
        Material([features], Split.TEST)


def test_a_fit_learns_and_knows_which_inputs_it_was_measured_on(features: Path, tmp_path: Path) -> None:
    found = _fit(features, tmp_path, Schedule(steps=40, batch=4, warm_up=4, evaluate_every=20, average=0.9))
    first, last = (tmp_path / EVALUATION).read_text().splitlines()[1:]
    assert float(last.split(",")[1]) < float(first.split(",")[1])
    assert found.best_input("depth", SEEN) in ("rgb", "normal", "semseg"), "no boxes were measured"
    assert found.errors[0, SEEN.index("bounding_boxes")] > 100


def test_a_stopped_fit_ends_in_the_same_weights(features: Path, tmp_path: Path) -> None:
    whole = _fit(features, tmp_path / "whole").state_dict()

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fit(features, tmp_path / "stopped", say=stop)
    resumed = _fit(features, tmp_path / "stopped").state_dict()
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0)
    with pytest.raises(ValueError, match="another schedule"):
        _fit(features, tmp_path / "stopped", Schedule(steps=7))


def test_a_new_decoder_leaves_the_fingerprint_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_random_bundle(folder, dense=["depth", "semseg"])
    before = load_bundle("bundle", folder)
    decoder = random_decoder(7)
    decoder.errors.fill_(0.5)
    save_decoder(decoder, tmp_path / FILE)
    made = CliRunner().invoke(bundling, [str(tmp_path / FILE), "--to", str(folder)])
    assert made.exit_code == 0, made.output
    after = load_bundle("bundle", folder)
    assert after.fingerprint == before.fingerprint
    assert after.decoder is not None
    assert after.decoder.labels == 7


def test_files_that_are_gone_still_count_where_the_manifest_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_random_bundle(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert fingerprint(manifest | {"retired": {"gone.safetensors": "0" * 64}}) == fingerprint(
        manifest | {"files": manifest["files"] | {"gone.safetensors": "0" * 64}}
    )


def test_a_decoder_with_too_few_labels_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_random_bundle(folder, dense=["semseg"])
    save_decoder(random_decoder(2), tmp_path / FILE)
    with pytest.raises(WeightsCorrupt, match="has 2 labels"):
        add_decoder(tmp_path / FILE, folder)
