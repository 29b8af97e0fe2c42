"""The folder of a run: its files, its tables of numbers, and whether the run can be resumed."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from anyseek.model.checkpoints.files import read_metadata
from anyseek.model.files import FileLock, remove_leftovers, write_file
from anyseek.model.training.run.errors import RunConflict
from anyseek.model.training.run.state import checkpoints

Number = int | float | None


class Records:
    """Rows of numbers, each starting with `step` and `time` (Unix seconds); None is an empty cell.

    `name` is the name of the CSV file. Existing rows after `step` are dropped.
    """

    def __init__(self, folder: Path, name: str, columns: Sequence[str], step: int) -> None:
        self._path = folder / f"{name}.csv"
        self._columns = ("step", "time", *columns)
        kept = [row for row in read_records(self._path) if (row["step"] or 0) <= step]
        text = io.StringIO()
        writer = self._writer(text)
        writer.writeheader()
        writer.writerows(map(_cells, kept))
        write_file(self._path, text.getvalue())
        self._file: TextIO = self._path.open("a", encoding="utf-8")

    def add(self, row: Mapping[str, Number]) -> None:
        """Append a row; the file has it when this returns."""
        self._writer(self._file).writerow(_cells(row))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _writer(self, file: TextIO) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self._columns, extrasaction="ignore", lineterminator="\n")


def _cells(row: Mapping[str, Number]) -> dict[str, int | str | None]:
    return {name: f"{value:.8g}" if isinstance(value, float) else value for name, value in row.items()}


def read_records(path: Path) -> list[dict[str, Number]]:
    """The rows of a CSV file, none if it does not exist; a truncated last row is skipped."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return [{name: _parse_cell(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(whole))]


def _parse_cell(cell: str) -> Number:
    if not cell:
        return None
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)


# Counters of a checkpoint, and a setting of earlier versions.
_LEFT_OUT = {"step", "tokens", "seconds", "contrast.train_maps"}


class RunFolder:
    """Paths below the folder of one run.

    `config` is a copy of the config that the run was last started with; `model` or `tokenizer` is what is finished,
    averaged weights as a published checkpoint; `reconstructions` has pictures of what a tokenizer made of validation
    samples, one an evaluation. `fitted` are the shortcuts that the run began with, `shortcuts` the finished ones.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkpoints, self.reconstructions = root / "checkpoints", root / "reconstructions"
        self.config, self.vocabulary = root / "config.yaml", root / "vocabulary.json"
        self.model, self.tokenizer = root / "model.safetensors", root / "tokenizer.safetensors"
        self.fitted, self.shortcuts = root / "fitted.safetensors", root / "shortcuts.safetensors"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder and lock it against other processes. Raises `RunConflict`."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / ".lock")
        if not lock.try_acquire():
            raise RunConflict(f"another process is training in {self.root}; give this run a folder of its own")
        try:
            yield
        finally:
            lock.release()

    def checkpoint(self, resume: bool) -> Path | None:
        """The checkpoint to resume from, or None to start anew; half-written files of a killed process are deleted.

        Raises `RunConflict` if there is a checkpoint and `resume` is not set.
        """
        remove_leftovers(self.checkpoints)
        found = checkpoints(self.checkpoints)
        if found and not resume:
            raise RunConflict(
                f"{self.root} already holds a run; continue it with --resume, or choose another folder with --out"
            )
        return found[-1] if found else None


def check_same_run(checkpoint: Path, now: Mapping[str, str]) -> None:
    """Refuse to go on from a checkpoint that was made with other settings or data. Raises `RunConflict`."""
    then = read_metadata(checkpoint)
    for name in sorted((then.keys() | now.keys()) - _LEFT_OUT):
        if then.get(name) != now.get(name):
            before, after = then.get(name, "nothing"), now.get(name, "nothing")
            raise RunConflict(
                f"{checkpoint} was made with {name} {before:.60}, now it is {after:.60}; choose another --out"
            )


def flatten_settings(value: object, path: str = "") -> dict[str, str]:
    """Nested settings as one flat mapping of paths to JSON, such as `optimiser.base_rate` to `0.0001`."""
    if isinstance(value, Mapping):
        parts = [flatten_settings(part, f"{path}.{key}" if path else str(key)) for key, part in value.items()]
        return {key: text for part in parts for key, text in part.items()}
    return {path: json.dumps(value, default=str)}
