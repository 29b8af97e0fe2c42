from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from model.checkpoints import load_vqvae, save_checkpoint
from model.training.pretraining.beginning import start_logits_at_codes
from model.training.pretraining.folder import RunFolder
from model.training.pretraining.loop import Trainer
from model.training.pretraining.read_config import read_config
from model.training.pretraining.train import prepare
from tests.model.training.pretraining.shapes import with_contrast

Written = Callable[[dict[str, Any]], Path]


def _prepared(config: Path, out: Path, said: list[str]) -> Trainer:
    folder = RunFolder(out)
    with folder.locked():
        return prepare(read_config(config), folder, torch.device("cpu"), said.append)


def test_a_run_begins_with_the_tensors_that_fit(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    first = _prepared(written(config), tmp_path / "first", []).network
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.copy_(torch.full_like(parameter, 0.5))
    save_checkpoint(first, tmp_path / "start.safetensors", torch.bfloat16)
    config["start"] = str(tmp_path / "start.safetensors")
    config["modalities"]["color_palette"]["loss_weight"] = 2  # other settings are no reason to begin anew
    config["modalities"]["rgb"]["patch"] = 4  # other pixels: this tensor does not fit
    said: list[str] = []
    network = _prepared(written(config), tmp_path / "second", said).network
    same = {name for name, parameter in network.named_parameters() if bool((parameter == 0.5).all())}
    assert {name for name, _ in network.named_parameters()} - same == {"encoder_embeddings.rgb.proj.weight"}
    assert said[0].splitlines()[0] == f"the network begins with {tmp_path / 'start.safetensors'}:"
    assert said[0].splitlines()[1].split()[:2] == ["copied", str(len(same))]
    assert said[0].splitlines()[2].endswith("encoder_embeddings.rgb (1)")


def test_logits_begin_at_the_codes(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    trainer = _prepared(written(with_contrast(config, tmp_path)), tmp_path / "run", [])
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
    _prepared(written(config), tmp_path / "run", said)
    assert "fitted the shortcuts of rgb" in said
    said.clear()
    _prepared(written(config), tmp_path / "run", said)
    assert "fitted the shortcuts of rgb" not in said
    config["contrast"]["rank"] = 3
    _prepared(written(config), tmp_path / "run", said)
    assert "fitted the shortcuts of rgb" in said
