"""Whole runs in this process: what they learn, write and refuse. Kills are in tests/api/commands/test_train.py."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from anyseek.model.checkpoints.files import load_fourm
from anyseek.model.files import TEMPORARY_PREFIX
from anyseek.model.fourm.bundled.shortcuts import load_shortcuts
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.run.errors import (
    RunConflict,
    TrainingConfigInvalid,
    TrainingDataInvalid,
    TrainingDiverged,
)
from anyseek.model.training.run.folder import RunFolder, read_records
from anyseek.model.training.run.processes import choose_device
from anyseek.model.training.run.state import checkpoints
from tests.model.training.runs import (
    Written,
    assert_same_runs,
    assert_same_tensors,
    last_checkpoint,
    prepared,
    stop_at,
    train,
    write_config,
)
from tests.model.training.shapes import settings, with_contrast


@pytest.fixture(scope="module")
def contrasted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, beside its config, of nothing but contrast: no target of the mixture."""
    folder = tmp_path_factory.mktemp("contrasted")
    config = with_contrast(settings(data), folder)
    config["batch"]["accumulation"] = 1
    config["modalities"] = {key: config["modalities"][key] for key in ("rgb", "states", "shape_global")}
    config["evaluation"] = {"every": 30, "samples": 20, "recall": [{"target": "shape_global", "queries": [["rgb"]]}]}
    del config["text"]
    assert train(write_config(config, folder), folder / "run")
    return folder / "run"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of the finished run, and its config."""
    return shutil.copytree(finished, tmp_path / "run"), yaml.safe_load((finished / "config.yaml").read_text())


def test_a_run_learns_and_leaves_everything_in_its_folder(finished: Path) -> None:
    rows = read_records(finished / "metrics.csv")
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30]
    losses = [float(row["loss"] or 0) for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.75 * losses[0]
    assert all(row["loss/tok_rgb"] is not None for row in rows)
    evaluated = read_records(finished / "evaluation.csv")
    assert [row["step"] for row in evaluated] == [15, 30]
    for column in ("loss", "loss/shape_global"):
        assert float(evaluated[1][column] or 0) < float(evaluated[0][column] or 0)
    assert evaluated[1]["recall@10/shape_global/caption+tok_rgb"] is not None
    names = [path.name for path in checkpoints(finished / "checkpoints")]
    assert names == ["step-000000025.safetensors", "step-000000030.safetensors"]
    said = (finished.parent / "said.txt").read_text().splitlines()
    assert "30 steps of 8 samples" in said[0]
    assert said[-1].startswith("made ")


def test_the_finished_weights_are_a_published_style_checkpoint(finished: Path) -> None:
    network = load_fourm(finished / "model.safetensors")
    assert network.config.domains_in == ("rgb", "caption", "color_palette", "tok_rgb")
    averages = load_file(last_checkpoint(finished))
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter, averages[f"average/network.{name}"], rtol=0, atol=0)
        assert not name.endswith("mask_token") or not torch.equal(parameter, averages[f"parameter/network.{name}"])
    text = TextTokenizer.from_file(finished / "vocabulary.json")
    assert network.config.row("caption").vocabulary == text.vocabulary_size
    given = ModalityInput(torch.tensor([text.encode("a red bar")]), torch.zeros(1, 3, dtype=torch.bool))
    assert network.decode_global(network.encode({"caption": given}), ["tok_rgb"])["tok_rgb"].shape == (1, 16, 27)


def test_contrast_trains_the_shortcuts_and_measures_what_is_used(contrasted: Path) -> None:
    rows = read_records(contrasted / "metrics.csv")
    assert float(rows[-1]["contrast/shape_global"] or 9) < 0.9 * float(rows[0]["contrast/shape_global"] or 0)
    evaluated = read_records(contrasted / "evaluation.csv")
    assert float(evaluated[-1]["recall@10/shape_global/rgb"] or 0) > 0.9  # mostly by the shortcut
    fitted, trained = (
        load_shortcuts(contrasted / name).shortcut("rgb", "shape_global")
        for name in ("fitted.safetensors", "shortcuts.safetensors")
    )
    assert torch.equal(fitted.mean, trained.mean)
    assert not torch.equal(fitted.down, trained.down)
    assert not torch.equal(fitted.gain, trained.gain)
    averages = load_file(last_checkpoint(contrasted))
    name = "average/contrast.shortcuts.maps.rgb_to_shape_global.gain"
    torch.testing.assert_close(trained.gain, averages[name], rtol=0, atol=0)


def test_accumulated_parts_and_bfloat16_and_workers_train_as_well(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config |= {"precision": "bfloat16", "loss": "token", "total_tokens": config["total_tokens"] // 3}
    config["batch"]["accumulation"] = 4
    config["run"]["workers"] = 2
    assert train(written(config), tmp_path / "run")
    rows = read_records(tmp_path / "run" / "metrics.csv")
    assert float(rows[-1]["loss"] or 9) < float(rows[0]["loss"] or 0)


@pytest.mark.parametrize("whole", ["finished", "contrasted"])
def test_a_run_that_stops_goes_on_where_it_was(whole: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(whole)
    config, broken = run.parent / "config.yaml", tmp_path / "broken"
    assert not train(config, broken, say=stop_at(20))
    assert last_checkpoint(broken).name == "step-000000020.safetensors"
    assert not (broken / "model.safetensors").exists()
    assert train(config, broken, resume=True)
    assert_same_runs(run, broken)


def test_a_finished_run_can_be_asked_to_go_on(finished: Path, copied: tuple[Path, dict[str, Any]]) -> None:
    run, _ = copied
    (run / "model.safetensors").unlink()
    assert train(run / "config.yaml", run, resume=True)
    assert_same_tensors(run / "model.safetensors", finished / "model.safetensors")


@pytest.mark.parametrize(
    ("section", "changed", "says"),
    [
        ("optimiser", {"base_rate": 0.2}, r"made with optimiser\.base_rate 0\.1, now it is 0\.2"),
        ("modalities", {"color_palette": {"kind": "text", "input": 1}}, r"made with modalities\.color_palette"),
        ("start", None, "made with start"),
    ],
)
def test_other_settings_are_refused(
    copied: tuple[Path, dict[str, Any]], written: Written, section: str, changed: dict[str, Any] | None, says: str
) -> None:
    run, config = copied
    config[section] = str(run / "model.safetensors") if changed is None else {**config[section], **changed}
    with pytest.raises(RunConflict, match=says):
        train(written(config), run, resume=True)


def test_a_second_start_is_refused_and_settings_of_the_run_may_change(
    copied: tuple[Path, dict[str, Any]], written: Written
) -> None:
    run, config = copied
    with pytest.raises(RunConflict, match="holds a run; continue it with --resume,"):
        train(written(config), run)
    config["run"] = {"checkpoint_every": 7, "report_every": 2, "workers": 1}
    config["evaluation"] = {"every": 3}
    assert train(written(config), run, resume=True)


def test_two_processes_do_not_train_in_one_folder(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").lock(), pytest.raises(RunConflict, match="another process is training"):
        train(written(config), tmp_path / "run")


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config["optimiser"] = {"base_rate": 1e9}
    config["run"]["checkpoint_every"] = 1
    with pytest.raises(TrainingDiverged, match="no longer a number at step"):
        train(written(config), tmp_path / "run")
    last = checkpoints(tmp_path / "run" / "checkpoints")[-1:]
    assert all(torch.isfinite(tensor).all() for path in last for tensor in load_file(path).values())


def test_data_that_no_component_can_use_ends_the_run(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    config["modalities"]["rgb"]["field"] = "depth"
    for key in ("caption", "color_palette", "tok_rgb"):
        config["modalities"][key]["field"] = "nothing"
    with pytest.raises(TrainingDataInvalid, match="none of the samples up to step 5"):
        train(written(config), tmp_path / "run")


def test_leftovers_of_a_killed_save_are_deleted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    (folder.checkpoints / f"{TEMPORARY_PREFIX}left").write_bytes(b"half")
    assert folder.checkpoint(resume=False) is None
    assert not list(folder.checkpoints.iterdir())


def test_a_vocabulary_file_is_used_and_copied(
    config: dict[str, Any], finished: Path, written: Written, tmp_path: Path
) -> None:
    config["text"] = {"vocabulary": str(finished / "vocabulary.json")}
    prepared(written(config), tmp_path / "run")
    assert (tmp_path / "run" / "vocabulary.json").read_bytes() == (finished / "vocabulary.json").read_bytes()


def test_an_unknown_device_is_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(TrainingConfigInvalid, match="the device 'abacus' cannot be used here"):
        choose_device("abacus")
