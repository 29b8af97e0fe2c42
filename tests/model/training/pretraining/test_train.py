"""Whole runs in this process: what they learn, write and refuse. Kills are in tests/api/commands/test_train.py."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from anyseek.model.checkpoints.files import load_fourm
from anyseek.model.files import TEMPORARY_PREFIX
from anyseek.model.fourm.bundled.shortcuts import load_shortcuts
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.train import train_model
from anyseek.model.training.run.errors import (
    RunConflict,
    TrainingConfigInvalid,
    TrainingDataInvalid,
    TrainingDiverged,
)
from anyseek.model.training.run.folder import RunFolder, read_records
from anyseek.model.training.run.processes import choose_device
from anyseek.model.training.run.state import checkpoints
from tests.model.training.shapes import with_contrast, with_recall

Written = Callable[[dict[str, Any]], Path]


def _train(config: Path, out: Path, *, resume: bool = False, say: Callable[[str], None] = lambda line: None) -> bool:
    return train_model(config, out, resume=resume, device="cpu", say=say)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _assert_same(one: Path, other: Path) -> None:
    """Bit for bit the same tensors; the order of the metadata in a safetensors file is not fixed."""
    expected, found = _tensors(one), _tensors(other)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)


def test_a_run_learns_and_leaves_everything_in_its_folder(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    said: list[str] = []
    assert _train(written(config), tmp_path / "run", say=said.append)
    rows = read_records(tmp_path / "run" / "metrics.csv")
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30]
    losses = [float(row["loss"] or 0) for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.75 * losses[0]
    assert all(row["loss/tok_rgb"] is not None for row in rows)
    evaluated = read_records(tmp_path / "run" / "evaluation.csv")
    assert [row["step"] for row in evaluated] == [15, 30]
    assert float(evaluated[1]["loss"] or 0) < float(evaluated[0]["loss"] or 0)
    assert [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")] == [
        "step-000000025.safetensors",
        "step-000000030.safetensors",
    ]
    assert "30 steps of 8 samples" in said[0]
    assert said[-1].startswith("made ")


def test_the_finished_weights_are_a_published_style_checkpoint(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config["total_tokens"] //= 3
    assert _train(written(config), tmp_path / "run")
    network = load_fourm(tmp_path / "run" / "model.safetensors")
    assert network.config.domains_in == ("rgb", "caption", "color_palette", "tok_rgb")
    averages = _tensors(checkpoints(tmp_path / "run" / "checkpoints")[-1])
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter, averages[f"average/network.{name}"], rtol=0, atol=0)
        assert not name.endswith("mask_token") or not torch.equal(parameter, averages[f"parameter/network.{name}"])
    text = TextTokenizer.from_file(tmp_path / "run" / "vocabulary.json")
    assert network.config.row("caption").vocabulary == text.vocabulary_size
    given = ModalityInput(torch.tensor([text.encode("a red bar")]), torch.zeros(1, 3, dtype=torch.bool))
    assert network.decode_global(network.encode({"caption": given}), ["tok_rgb"])["tok_rgb"].shape == (1, 16, 27)


def test_globals_are_learned_and_their_recall_is_recorded(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config = with_recall(config, tmp_path)
    config["modalities"] = {key: config["modalities"][key] for key in ("rgb", "caption", "tok_rgb", "shape_global")}
    config["total_tokens"] *= 3
    config["batch"]["accumulation"] = 1
    config["evaluation"]["every"] = 60
    assert _train(written(config), tmp_path / "run")
    rows = read_records(tmp_path / "run" / "evaluation.csv")
    assert float(rows[-1]["loss/shape_global"] or 9) < 0.8 * np.log(8)
    assert float(rows[-1]["recall@10/shape_global/rgb"] or 0) > 0.6  # of 20; 0.5 by chance


def test_contrast_trains_the_shortcuts_and_measures_what_is_used(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config = with_contrast(config, tmp_path)
    config["batch"]["accumulation"] = 1
    config["modalities"] = {key: config["modalities"][key] for key in ("rgb", "states", "shape_global")}
    config["evaluation"] = {"every": 30, "samples": 20, "recall": [{"target": "shape_global", "queries": [["rgb"]]}]}
    del config["text"]
    assert _train(written(config), tmp_path / "run")  # nothing but contrast, so without any target of the mixture
    rows = read_records(tmp_path / "run" / "metrics.csv")
    assert float(rows[-1]["contrast/shape_global"] or 9) < 0.9 * float(rows[0]["contrast/shape_global"] or 0)
    evaluated = read_records(tmp_path / "run" / "evaluation.csv")
    assert float(evaluated[-1]["recall@10/shape_global/rgb"] or 0) > 0.9  # mostly by the shortcut
    fitted, trained = (
        load_shortcuts(tmp_path / "run/fitted.safetensors"),
        load_shortcuts(tmp_path / "run/shortcuts.safetensors"),
    )
    assert torch.equal(fitted.of("rgb", "shape_global").mean, trained.of("rgb", "shape_global").mean)
    assert not torch.equal(fitted.of("rgb", "shape_global").down, trained.of("rgb", "shape_global").down)
    assert not torch.equal(fitted.of("rgb", "shape_global").gain, trained.of("rgb", "shape_global").gain)
    averages = _tensors(checkpoints(tmp_path / "run" / "checkpoints")[-1])
    name = "average/contrast.shortcuts.maps.rgb_to_shape_global.gain"
    torch.testing.assert_close(trained.of("rgb", "shape_global").gain, averages[name], rtol=0, atol=0)


def test_accumulated_parts_and_bfloat16_and_workers_train_as_well(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config |= {"precision": "bfloat16", "loss": "token", "total_tokens": config["total_tokens"] // 3}
    config["batch"]["accumulation"] = 4
    config["run"]["workers"] = 2
    assert _train(written(config), tmp_path / "run")
    rows = read_records(tmp_path / "run" / "metrics.csv")
    assert float(rows[-1]["loss"] or 9) < float(rows[0]["loss"] or 0)


@pytest.mark.parametrize("contrasts", [False, True])
def test_a_run_that_stops_goes_on_where_it_was(
    config: dict[str, Any], written: Written, tmp_path: Path, contrasts: bool
) -> None:
    config["total_tokens"] //= 2
    path = written(with_contrast(config, tmp_path) if contrasts else config)
    assert _train(path, tmp_path / "whole")

    def stop_at_ten(line: str) -> None:
        if line.startswith("step 10 "):
            signal.raise_signal(signal.SIGTERM)

    assert not _train(path, tmp_path / "broken", say=stop_at_ten)
    assert checkpoints(tmp_path / "broken" / "checkpoints")[-1].name == "step-000000010.safetensors"
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    assert _train(path, tmp_path / "broken", resume=True)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    _assert_same(whole / "model.safetensors", broken / "model.safetensors")
    if contrasts:
        _assert_same(whole / "shortcuts.safetensors", broken / "shortcuts.safetensors")
    _assert_same(*(checkpoints(folder / "checkpoints")[-1] for folder in (whole, broken)))
    changing = ("time", "seconds", "tokens_per_second")
    for name in ("metrics.csv", "evaluation.csv"):
        rows = [
            [{key: value for key, value in row.items() if key not in changing} for row in read_records(folder / name)]
            for folder in (whole, broken)
        ]
        assert rows[0] == rows[1]


def test_a_finished_run_can_be_asked_to_go_on(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    config["total_tokens"] //= 6
    path = written(config)
    assert _train(path, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").rename(tmp_path / "before.safetensors")
    assert _train(path, tmp_path / "run", resume=True)
    _assert_same(tmp_path / "run" / "model.safetensors", tmp_path / "before.safetensors")


def test_other_settings_or_a_second_start_are_refused(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    config["total_tokens"] //= 6
    assert _train(written(config), tmp_path / "run")
    with pytest.raises(RunConflict, match="holds a run; continue it with --resume,"):
        _train(written(config), tmp_path / "run")
    config["optimiser"]["base_rate"] = 0.2
    with pytest.raises(RunConflict, match=r"made with optimiser\.base_rate 0\.1, now it is 0\.2"):
        _train(written(config), tmp_path / "run", resume=True)
    config["optimiser"]["base_rate"] = 0.1
    config["modalities"]["caption"]["target"] = 2
    with pytest.raises(RunConflict, match=r"made with modalities\.caption\.target"):
        _train(written(config), tmp_path / "run", resume=True)
    config["modalities"]["caption"]["target"] = 1
    config["start"] = str(tmp_path / "run" / "model.safetensors")
    with pytest.raises(RunConflict, match="made with start"):
        _train(written(config), tmp_path / "run", resume=True)
    del config["start"]
    config["run"] = {"checkpoint_every": 7, "report_every": 2, "workers": 1}
    config["evaluation"] = {"every": 3}
    assert _train(written(config), tmp_path / "run", resume=True)


def test_two_processes_do_not_train_in_one_folder(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").locked(), pytest.raises(RunConflict, match="another process is training"):
        _train(written(config), tmp_path / "run")


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config["optimiser"] = {"base_rate": 1e9}
    config["run"]["checkpoint_every"] = 1
    with pytest.raises(TrainingDiverged, match="no longer a number at step"):
        _train(written(config), tmp_path / "run")
    last = checkpoints(tmp_path / "run" / "checkpoints")[-1:]
    assert all(torch.isfinite(tensor).all() for path in last for tensor in _tensors(path).values())


def test_data_that_no_component_can_use_ends_the_run(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    config["modalities"]["rgb"]["field"] = "depth"
    for key in ("caption", "color_palette", "tok_rgb"):
        config["modalities"][key]["field"] = "nothing"
    with pytest.raises(TrainingDataInvalid, match="none of the samples up to step 5"):
        _train(written(config), tmp_path / "run")


def test_leftovers_of_a_killed_save_are_deleted(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    config["total_tokens"] //= 6
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / f"{TEMPORARY_PREFIX}left").write_bytes(b"half")
    assert _train(written(config), tmp_path / "run")
    assert not list(folder.glob(".*"))


def test_a_vocabulary_file_is_used_and_copied(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    config["total_tokens"] //= 6
    assert _train(written(config), tmp_path / "first")
    config["text"] = {"vocabulary": str(tmp_path / "first" / "vocabulary.json")}
    assert _train(written(config), tmp_path / "second")
    assert (tmp_path / "first/vocabulary.json").read_bytes() == (tmp_path / "second/vocabulary.json").read_bytes()
    _assert_same(tmp_path / "first/model.safetensors", tmp_path / "second/model.safetensors")


def test_an_unknown_device_is_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(TrainingConfigInvalid, match="the device 'abacus' cannot be used here"):
        choose_device("abacus")
