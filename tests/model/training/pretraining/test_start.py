"""Beginning with another network: what is taken, what stays frozen, and that runs go on exactly across the switch."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from anyseek.model.checkpoints.files import load_fourm, load_vqvae, save_checkpoint
from anyseek.model.errors import WeightsMissing
from anyseek.model.fourm.bundled.shortcuts import load_shortcuts
from anyseek.model.fourm.published.store import MODEL_FILE, Record, describe, folder_of, write_record
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.config import read_config
from anyseek.model.training.pretraining.plan import make_vocabulary, save_vocabulary
from anyseek.model.training.pretraining.start import StartFiles, copy_tensors, start_files, start_logits_at_codes
from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.run.state import checkpoints
from tests.model.training.runs import Written, assert_same_tensors, prepared, train, write_config
from tests.model.training.shapes import settings, with_contrast

STEPS, FROZEN = 12, 6


def _small(config: dict[str, Any], steps: int = STEPS) -> dict[str, Any]:
    return {**config, "total_tokens": steps * 8 * 48, "evaluation": {"every": 100, "samples": 8}}


def _adding_depth(data: Path, start: Path) -> dict[str, Any]:
    """A config that adds depth to another run's network, frozen for half of the steps."""
    config = _small(settings(data))
    config["modalities"]["depth"] = {"kind": "picture", "input": [0, 1], "grid": [4, 4], "patch": 8}
    config["start"] = {"from": str(start), "frozen_tokens": FROZEN * 8 * 48}
    config["run"] = {"checkpoint_every": 3, "keep": 9, "report_every": 3, "workers": 0}
    return config


@pytest.fixture(scope="module")
def added(data: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that added depth, beside its config and what it said."""
    folder = tmp_path_factory.mktemp("added")
    said: list[str] = []
    assert train(write_config(_adding_depth(data, finished), folder), folder / "run", say=said.append)
    (folder / "said.txt").write_text("\n".join(said))
    return folder / "run"


def _parameters(path: Path, kind: str = "parameter") -> dict[str, torch.Tensor]:
    return {name.partition("/")[2]: one for name, one in load_file(path).items() if name.startswith(f"{kind}/")}


def test_only_what_is_new_is_trained_at_first_and_then_everything(added: Path, finished: Path) -> None:
    said = (added.parent / "said.txt").read_text()
    assert "new" in said
    assert "encoder_embeddings.depth (2)" in said
    before = load_fourm(finished / "model.safetensors").state_dict()
    steps = {int(path.stem.removeprefix("step-")): path for path in checkpoints(added / "checkpoints")}
    at_switch, counts = _parameters(steps[FROZEN]), _parameters(steps[FROZEN], "count")
    averages = _parameters(steps[FROZEN], "average")
    for name, tensor in at_switch.items():
        is_new = ".depth." in name
        assert counts[name] == (FROZEN if is_new else 0)
        if not is_new:
            torch.testing.assert_close(tensor, before[name.removeprefix("network.")], rtol=0, atol=0)
            torch.testing.assert_close(averages[name], tensor, rtol=0, atol=0)
    end, counts = _parameters(steps[STEPS]), _parameters(steps[STEPS], "count")
    trunk = "network.encoder.0.attn.qkv.weight"
    assert not torch.equal(end[trunk], at_switch[trunk])
    assert counts[trunk] == STEPS - FROZEN
    assert counts["network.encoder_embeddings.depth.proj.weight"] == STEPS


@pytest.mark.parametrize("killed_at", [3, FROZEN, 9])
def test_a_run_goes_on_exactly_across_the_switch(added: Path, tmp_path: Path, killed_at: int) -> None:
    run = shutil.copytree(added, tmp_path / "run")
    (run / "model.safetensors").unlink()
    for path in checkpoints(run / "checkpoints"):
        if int(path.stem.removeprefix("step-")) > killed_at:
            path.unlink()
    assert train(added.parent / "config.yaml", run, resume=True)
    assert_same_tensors(run / "model.safetensors", added / "model.safetensors")


def test_the_rate_rises_once_more_at_the_switch(data: Path, finished: Path, written: Written) -> None:
    values = _adding_depth(data, finished)
    config = read_config(written(values))
    assert config.frozen_steps == FROZEN
    rates = [config.rate_at(step) for step in range(config.steps)]
    assert rates[FROZEN] < rates[FROZEN + 1] < rates[FROZEN - 1]
    del values["start"]
    usual = read_config(written(values))
    assert rates[:FROZEN] == [usual.rate_at(step) for step in range(FROZEN)]
    assert rates[FROZEN + 4 :] == [usual.rate_at(step) for step in range(FROZEN + 4, config.steps)]


def test_words_keep_their_rows_in_another_vocabulary(
    config: dict[str, Any], finished: Path, written: Written, tmp_path: Path
) -> None:
    save_vocabulary(make_vocabulary(["a red bar", "zebra zebra block"], 60), tmp_path / "other.json")
    config = _small(config)
    config["text"] = {"vocabulary": str(tmp_path / "other.json")}
    config["start"] = str(finished)
    said: list[str] = []
    network = prepared(written(config), tmp_path / "second", said.append).network.state_dict()
    assert "copied in part, by token" in said[0]
    before = load_fourm(finished / "model.safetensors").state_dict()
    theirs = TextTokenizer.from_file(finished / "vocabulary.json")
    ours = TextTokenizer.from_file(tmp_path / "other.json")
    assert theirs.id_of("red") != ours.id_of("red")
    for table in ("encoder_embeddings.caption.token_emb.weight", "decoder_embeddings.caption.to_logits.weight"):
        for token in ("red", "block", "v0=7", "[S_1]"):
            torch.testing.assert_close(network[table][ours.id_of(token)], before[table][theirs.id_of(token)])
        assert theirs.id_of("zebra") is None
        assert not (network[table][ours.id_of("zebra")][None] == before[table]).all(dim=1).any()


def test_a_start_that_gives_nothing_is_refused(
    config: dict[str, Any], finished: Path, written: Written, tmp_path: Path
) -> None:
    config["start"] = str(finished)
    config["network"]["dim"] = 64
    with pytest.raises(TrainingConfigInvalid, match=r"no tensor of .* matches one of this network by name and shape"):
        prepared(written(config), tmp_path / "second")
    config["network"]["dim"] = 32
    config["start"] = {"from": str(finished), "frozen_tokens": 100}
    with pytest.raises(TrainingConfigInvalid, match="leaves nothing to train"):
        prepared(written(config), tmp_path / "second")


def test_a_start_is_called_by_file_folder_or_name(finished: Path, tmp_path: Path) -> None:
    assert start_files(str(finished), tmp_path) == start_files(f"{finished}/", tmp_path)
    assert start_files(str(finished), tmp_path).network == finished / "model.safetensors"
    alone = start_files(str(finished / "model.safetensors"), tmp_path)
    assert (alone.vocabulary, alone.shortcuts) == (finished / "vocabulary.json", None)
    bundled = start_files("4m-tiny", tmp_path)
    assert bundled.by_modality
    assert set(bundled.all) == {"network", "vocabulary", "shortcuts"}
    with pytest.raises(TrainingConfigInvalid, match="is not a file, not a folder"):
        start_files("nowhere", tmp_path)


def test_4m_21_begins_with_4m_7(tmp_path: Path) -> None:
    """With the published rows, in a narrow network: what both have is copied, the rest is new or left over."""
    shape: dict[str, Any] = {"image_size": 224, "dim": 16, "encoder_depth": 1, "decoder_depth": 1, "num_heads": 2}
    of_7 = ("tok_depth@224", "tok_semseg@224", "caption", "det")
    of_21 = (*of_7, "human_poses", "tok_dinov2_global")
    older = FourM(FourMConfig(("rgb@224", *of_7), of_7, norm_bias=False, act_layer="SiLU", **shape))
    older.initialise(1)
    folder = folder_of("4M-7_B_CC12M", tmp_path)
    folder.mkdir(parents=True)
    save_checkpoint(older, folder / MODEL_FILE)
    with pytest.raises(WeightsMissing, match="run `anyseek models pull 4M-7_B_CC12M`"):
        start_files("4M-7_B_CC12M", tmp_path)
    write_record(Record("4M-7_B_CC12M", "here", {MODEL_FILE: describe(folder / MODEL_FILE)}), folder)
    newer = FourM(FourMConfig(("rgb@224", *of_21), of_21[1:], norm_bias=False, act_layer="SiLU", **shape))
    newer.initialise(2)
    taken = copy_tensors(newer, start_files("EPFL-VILAB/4M-7_B_CC12M", tmp_path), None)
    theirs = dict(older.named_parameters(remove_duplicate=False))
    for name, tensor in newer.named_parameters():
        assert (name in theirs) == (name in taken.copied)
        if name in theirs:
            torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0)
    assert {name.split(".")[1] for name in taken.new} == {"human_poses", "tok_dinov2_global"}
    assert {name.rsplit(".", 2)[0] for name in taken.left_over} == {"decoder_embeddings.tok_depth@224"}
    assert not taken.partly


def test_shared_tensors_are_found_under_either_name(finished: Path, tmp_path: Path) -> None:
    """A file has one of two shared tensors; a network in which a modality is an input only finds it all the same."""
    network = load_fourm(finished / "model.safetensors")
    stored = load_file(finished / "model.safetensors")
    assert "encoder_embeddings.caption.mod_emb" not in stored
    config = network.config
    inputs = FourM(FourMConfig(**{**vars(config), "domains_out": ("tok_rgb", "shape_global")}))
    taken = copy_tensors(inputs, StartFiles(finished / "model.safetensors"), None)
    assert not taken.new
    assert not taken.partly
    torch.testing.assert_close(
        inputs.state_dict()["encoder_embeddings.caption.mod_emb"], stored["decoder_embeddings.caption.mod_emb"]
    )
    assert set(taken.left_over) == {
        name for name in stored if name.startswith("decoder_embeddings.c") and "pos" not in name and "mod" not in name
    }


def test_int8_weights_can_be_a_start(finished: Path, tmp_path: Path) -> None:
    network = load_fourm(finished / "model.safetensors")
    save_checkpoint(network, tmp_path / "start.safetensors", torch.int8)
    other = FourM(network.config)
    assert not copy_tensors(other, StartFiles(tmp_path / "start.safetensors"), None).new
    with torch.no_grad():
        for found, expected in zip(other.parameters(), network.parameters(), strict=True):
            assert (found - expected).norm() <= 0.01 * expected.norm()


def test_shortcuts_of_the_start_are_kept_and_only_new_ones_are_fitted(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config = with_contrast(_small(config, 5), tmp_path)
    config["evaluation"] = {"every": 100, "samples": 8}
    own = config["contrast"]["own"]
    config["contrast"]["own"] = {"rgb": own["rgb"]}
    train(written(config), tmp_path / "first")
    config["contrast"]["own"] = own
    config["contrast"]["rank"] = 3
    config["start"] = {"from": str(tmp_path / "first"), "frozen_tokens": 3 * 8 * 48}
    said: list[str] = []
    trainer = prepared(written(config), tmp_path / "second", said.append)
    assert [line for line in said if line.startswith("fitted")] == ["fitted the shortcuts of states"]
    kept = load_shortcuts(tmp_path / "first" / "shortcuts.safetensors").shortcut("rgb", "shape_global")
    found = load_shortcuts(tmp_path / "second" / "fitted.safetensors")
    own_rgb = torch.nn.functional.normalize(torch.randn(3, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    torch.testing.assert_close(found.shortcut("rgb", "shape_global")(own_rgb), kept(own_rgb))
    frozen = trainer.state.frozen.names
    assert "contrast.shortcuts.maps.rgb_to_shape_global.gain" in frozen
    assert "contrast.shortcuts.maps.states_to_shape_global.gain" not in frozen


def test_logits_begin_at_the_codes(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    trainer = prepared(written(with_contrast(config, tmp_path)), tmp_path / "run")
    tokenizer = load_vqvae(tmp_path / "shapes.safetensors")
    codes = tokenizer.quantize.codes.transpose(0, 1).flatten(1)
    table = trainer.network.state_dict()["decoder_embeddings.shape_global.token_emb.weight"]
    assert codes.shape[1] != table.shape[1]
    torch.testing.assert_close(table @ table.T / table.square().mean(), codes @ codes.T / codes.square().mean() * 2)
    start_logits_at_codes(trainer.network, "shape_global", tokenizer)
    torch.testing.assert_close(
        trainer.network.state_dict()["decoder_embeddings.shape_global.token_emb.weight"], table, rtol=0, atol=0
    )


def test_fitted_shortcuts_are_kept_and_fitted_anew_for_other_settings(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config = with_contrast(config, tmp_path)
    said: list[str] = []
    prepared(written(config), tmp_path / "run", said.append)
    assert "fitted the shortcuts of rgb" in said
    said.clear()
    prepared(written(config), tmp_path / "run", said.append)
    assert "fitted the shortcuts of rgb" not in said
    config["contrast"]["rank"] = 3
    prepared(written(config), tmp_path / "run", said.append)
    assert "fitted the shortcuts of rgb" in said
