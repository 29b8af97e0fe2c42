"""Trainings in this process, and comparisons of what they leave."""

import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from anyseek.model.data.samples import Split
from anyseek.model.modalities.formats.spans import SpecialIds, merge_spans
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.batches import Batch, BatchSource
from anyseek.model.training.pretraining.config import read_config
from anyseek.model.training.pretraining.plan import make_plan, make_vocabulary, save_vocabulary
from anyseek.model.training.pretraining.train import prepare, train_model
from anyseek.model.training.run.data_sets import open_split
from anyseek.model.training.run.folder import RunFolder, read_records
from anyseek.model.training.run.loop import Trainer
from anyseek.model.training.run.state import checkpoints

Written = Callable[[dict[str, Any]], Path]
TIMES = ("time", "seconds", "tokens_per_second")


def write_config(values: dict[str, Any], folder: Path) -> Path:
    """The file of a config."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def silent(line: str) -> None:
    """Progress that nobody reads."""


def train(
    config: Path, out: Path, *, resume: bool = False, say: Callable[[str], None] = silent, by: Any = train_model
) -> bool:
    """Train on the CPU, by `train_model` or `train_tokenizer`."""
    return bool(by(config, out, resume=resume, device="cpu", say=say))


def prepared(config: Path, out: Path, say: Callable[[str], None] = silent) -> Trainer[Any, Any]:
    """A run of a network before its first step."""
    folder = RunFolder(out)
    with folder.lock():
        return prepare(read_config(config), folder, torch.device("cpu"), say)


def stop_at(step: int) -> Callable[[str], None]:
    """Progress whose report of a step stops the run."""

    def say(line: str) -> None:
        if line.startswith(f"step {step} "):
            signal.raise_signal(signal.SIGTERM)

    return say


def last_checkpoint(run: Path) -> Path:
    """The latest checkpoint of a run."""
    return checkpoints(run / "checkpoints")[-1]


def numbers(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file, without times."""
    return [{key: value for key, value in row.items() if key not in TIMES} for row in read_records(path)]


def assert_same_tensors(one: Path, other: Path) -> None:
    """Bit for bit the same tensors; the order of the metadata in a safetensors file is not fixed."""
    expected, tensors = load_file(one), load_file(other)
    assert expected.keys() == tensors.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=0, msg=name)


def assert_same_runs(one: Path, other: Path) -> None:
    """The same weights, last checkpoints and numbers."""
    weights = sorted(path.name for path in one.glob("*.safetensors"))
    assert weights == sorted(path.name for path in other.glob("*.safetensors"))
    for name in weights:
        assert_same_tensors(one / name, other / name)
    assert_same_tensors(last_checkpoint(one), last_checkpoint(other))
    for name in ("metrics.csv", "evaluation.csv"):
        assert numbers(one / name) == numbers(other / name)


def merged_text(batch: Batch, key: str, row: int, text: TextTokenizer) -> str:
    """The whole text of a sample, from what it shows and what it should predict."""
    ids, given, wanted = SpecialIds.of(text), batch.inputs[key], batch.targets[key]
    shown, hidden = given.values[row][~given.mask[row]].tolist(), wanted.ids[row][~wanted.mask[row]].tolist()
    assert shown or hidden
    merged = merge_spans(shown or [ids.sentinel(1)], hidden, ids)
    return text.decode([number for number in merged if number != text.end_id])


def batch_source(config: Path, vocabulary: Iterable[str], folder: Path, size: int) -> BatchSource:
    """The batches of a config's training samples, with a vocabulary of some texts that is written to a folder."""
    settings = read_config(config)
    save_vocabulary(make_vocabulary(vocabulary, 60), folder / "vocabulary.json")
    plan = make_plan(settings, TextTokenizer.from_file(folder / "vocabulary.json"), {})
    data = open_split(settings.data, Split.TRAIN)
    return BatchSource(plan, settings.mixture, data, settings.data.window, size, settings.seed)
