"""Training tokenizers in this process; the command line is tested by tests/api/commands/test_train_tokenizer.py."""

import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

from anyseek.model.checkpoints.files import load_tokenizer
from anyseek.model.data.samples import Split
from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from anyseek.model.tokenizers.inputs import tokenizer_input
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.run.data_sets import open_split
from anyseek.model.training.run.errors import RunConflict, TrainingConfigInvalid, TrainingDataInvalid
from anyseek.model.training.run.folder import read_records
from anyseek.model.training.tokenizing.batches import InputSource
from anyseek.model.training.tokenizing.config import check_shape, read_config
from anyseek.model.training.tokenizing.objective import CodeCounts, run_pass
from anyseek.model.training.tokenizing.train import (
    begin,
    product_quantizer,
    read_vectors,
    spread_latents,
    train_tokenizer,
)
from tests.model.training.runs import (
    Written,
    assert_same_runs,
    last_checkpoint,
    silent,
    stop_at,
    train,
    write_config,
)
from tests.model.training.tokenizing.scenes import FAMILIES, FITTED, VECTOR, scene, settings

_train = partial(train, by=train_tokenizer)
STEPS = {"fitted": 40, "diffusion": 10}


@pytest.fixture(scope="module")
def trained(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a finished run of a family, beside its config; nobody may change it."""

    @cache
    def run(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        assert _train(write_config(settings(scenes, family, STEPS.get(family, 20)), folder), folder / "run")
        return folder / "run"

    return run


@pytest.mark.parametrize(
    ("family", "quality"),
    [
        ("picture", "psnr"),
        ("depth", "l1"),
        ("labels", "miou"),
        ("mask", "iou"),
        ("map", "cosine"),
        ("vector", "found"),
        ("diffusion", "psnr"),
    ],
)
def test_each_kind_learns_and_is_measured(trained: Callable[[str], Path], family: str, quality: str) -> None:
    run = trained(family)
    rows = read_records(run / "metrics.csv")
    assert float(rows[-1]["loss/reconstruction"] or 9) < float(rows[0]["loss/reconstruction"] or 0)
    assert all(0 < float(row["codes/used"] or 0) <= 1 for row in rows)
    evaluated = read_records(run / "evaluation.csv")
    assert [row["step"] for row in evaluated] == ([10] if family == "diffusion" else [10, 20])
    assert all(row[f"quality/{quality}"] is not None for row in evaluated)
    assert load_tokenizer(run / "tokenizer.safetensors").config.is_diffusion is (family == "diffusion")
    if family != "vector":
        picture = Image.open(run / "reconstructions" / f"step-{rows[-1]['step']:09d}.png")
        assert picture.width > picture.height / 2


@pytest.mark.parametrize("family", ["picture", "vector"])
def test_the_ordinary_loader_decodes_what_the_trainer_saw(trained: Callable[[str], Path], family: str) -> None:
    run = trained(family)
    config, found = read_config(run / "config.yaml"), load_tokenizer(run / "tokenizer.safetensors")
    assert isinstance(found, ImageVQVAE | VQVAE)
    network = begin(config)
    last = load_file(last_checkpoint(run))
    stored = {
        name.partition("/")[2]: tensor for name, tensor in last.items() if name.startswith(("average/", "buffer/"))
    }
    missing, unexpected = network.load_state_dict(stored, strict=False)
    assert not unexpected
    assert all(name.endswith("pos_emb") for name in missing)
    field = FAMILIES[family][1]
    value = torch.from_numpy(tokenizer_input(field, scene(25).values[field], found.config, 16)).float()[None]
    with torch.no_grad():
        done = run_pass(network.eval(), value, config.codes, torch.Generator())
        assert torch.equal(found.encode(value), done.ids)
        torch.testing.assert_close(found.decode_tokens(done.ids), done.predicted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["picture", "vector", "fitted"])
def test_a_run_that_stops_goes_on_where_it_was(trained: Callable[[str], Path], tmp_path: Path, family: str) -> None:
    run, broken = trained(family), tmp_path / "broken"
    assert not _train(run / "config.yaml", broken, say=stop_at(5))
    assert not (broken / "tokenizer.safetensors").exists()
    assert _train(run / "config.yaml", broken, resume=True)
    assert_same_runs(run, broken)


def test_bfloat16_sizes_and_workers_train_as_well(scenes: Path, written: Written, tmp_path: Path) -> None:
    config = settings(scenes, "picture", steps=10) | {"precision": "bfloat16"}
    config["modality"]["sizes"] = [16, 24]
    config["run"]["workers"] = 1
    assert _train(written(config), tmp_path / "run")
    rows = read_records(tmp_path / "run" / "metrics.csv")
    assert float(rows[-1]["loss"] or 9) < float(rows[0]["loss"] or 0)
    assert float(rows[0]["tokens"] or 0) > 5 * 8 * 16  # 16 tokens of the small size, 36 of the other


def test_a_run_begins_with_another_tokenizer(scenes: Path, trained: Callable[[str], Path], written: Written) -> None:
    config = settings(scenes)
    config["start"] = str(trained("picture") / "tokenizer.safetensors")
    config["tokenizer"]["image_size"] = 32
    larger = begin(read_config(written(config)))
    first = load_tokenizer(trained("picture") / "tokenizer.safetensors").state_dict()
    for name, tensor in larger.state_dict().items():
        assert name.endswith("pos_emb") or torch.equal(tensor, first[name])
    assert larger.state_dict()["encoder.pos_emb"].shape == (1, 16, 8, 8)
    config["tokenizer"]["codebook_size"] = 8
    with pytest.raises(TrainingConfigInvalid, match=r"has no quantize\._codebook"):
        begin(read_config(written(config)))


def test_other_settings_are_refused(
    scenes: Path, trained: Callable[[str], Path], written: Written, tmp_path: Path
) -> None:
    run = shutil.copytree(trained("picture"), tmp_path / "run")
    config = settings(scenes) | {"codes": {"decay": 0.9}}
    with pytest.raises(RunConflict, match=r"made with codes\.decay 0\.99, now it is 0\.9"):
        _train(written(config), run, resume=True)


def test_a_field_that_no_sample_has_is_named(scenes: Path, written: Written, tmp_path: Path) -> None:
    config = settings(scenes, "vector") | {"modality": {"field": "nothing"}}
    with pytest.raises(TrainingDataInvalid, match="none has nothing"):
        _train(written(config), tmp_path / "run")


def test_a_value_that_does_not_fit_is_named(scenes: Path, written: Written, tmp_path: Path) -> None:
    config = settings(scenes, "labels")
    config["tokenizer"]["n_labels"] = 2
    with pytest.raises(TrainingDataInvalid, match="takes ids from 0 to 1, not 2"):
        _train(written(config), tmp_path / "run")
    assert np.unique(scene(0).values["semseg"].ids).tolist() == [0, 1, 2]


def test_vectors_that_are_much_alike_get_different_codes() -> None:
    network = VQVAE(TokenizerConfig.from_values(VECTOR))
    network.initialise(0)
    draws = torch.Generator().manual_seed(0)
    vectors = torch.full((1, 6), 5.0) + 0.1 * torch.randn(200, 6, generator=draws)
    perplexities = []
    for _ in range(2):
        counts = CodeCounts(4, 8)
        counts.add(network.encode(vectors))
        perplexities.append(counts.perplexity())
        spread_latents(network, vectors)
    assert perplexities[0] < 2
    assert perplexities[1] > 4
    latents = network.latents(vectors)
    torch.testing.assert_close(latents.mean(dim=0), torch.zeros(16), rtol=0, atol=1e-3)


def test_fitted_codes_stay_as_they_are_and_the_decoder_learns(trained: Callable[[str], Path]) -> None:
    run = trained("fitted")
    config = read_config(run / "config.yaml")
    source = InputSource(
        config.modality, config.kind, config.tokenizer, open_split(config.data, Split.TRAIN), 4, 8, config.seed
    )
    before = begin(config, read_vectors(source, silent)).state_dict()
    after = load_tokenizer(run / "tokenizer.safetensors").state_dict()
    changed = {name.partition(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"post_quant_proj", "decoder"}
    losses = [float(row["loss"] or 0) for row in read_records(run / "metrics.csv")]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert float(read_records(run / "evaluation.csv")[-1]["quality/found"] or 0) > 0.5


@pytest.mark.parametrize(
    ("family", "changes", "says"),
    [
        ("picture", {}, "codes.fitted applies only to vectors, not to a picture"),
        ("fitted", {"start": "tokenizer.safetensors"}, "cannot be combined with start"),
        ("fitted", {"tokenizer": FITTED | {"latent_dim": 8}}, "latent_dim must be 6"),
        ("fitted", {"tokenizer": FITTED | {"dec_type": "BottleneckMLP/B_1-Wi_8"}}, "must have one width"),
    ],
)
def test_codes_that_cannot_be_fitted_are_refused(
    scenes: Path, written: Written, family: str, changes: dict[str, Any], says: str
) -> None:
    config = settings(scenes, family) | {"codes": {"fitted": True}} | changes
    with pytest.raises(TrainingConfigInvalid, match=says):
        read_config(written(config))


MLP = "BottleneckMLP/B_1-Wi_48-E_2"
SHAPE = TokenizerConfig(64, MLP, MLP, "memcodes", 128, 4, 52)


def _vectors() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(60, 64, generator=generator)
    chosen = centres[torch.randint(60, (1500,), generator=generator)]
    return F.normalize(chosen + 0.1 * torch.randn(1500, 64, generator=generator), dim=1)


def test_vectors_are_found_again_by_their_codes() -> None:
    vectors = _vectors()
    tokenizer = product_quantizer(SHAPE, vectors, seed=0)
    with torch.no_grad():
        rebuilt = tokenizer.decode_tokens(tokenizer.encode(vectors))
        latents = tokenizer.latents(vectors).reshape(len(vectors), 4, 13)
    assert F.cosine_similarity(rebuilt, vectors).mean() > 0.95
    assert F.cosine_similarity(rebuilt, vectors.roll(1, 0)).mean() < 0.5
    scaled = latents / latents[:, :, -1:]
    codes = tokenizer.quantize.codes.detach()
    nearest = torch.stack([torch.cdist(scaled[:, head, :-1], codes[head, :, :-1]).argmin(1) for head in range(4)], 1)
    assert (nearest == tokenizer.encode(vectors)).float().mean() > 0.999


@pytest.mark.parametrize("change", [{"num_codebooks": 5}, {"latent_dim": 48}, {"n_channels": 32}])
def test_other_shapes_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigInvalid):
        check_shape(TokenizerConfig(**{**vars(SHAPE), **change}))
