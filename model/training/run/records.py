"""Record a run's numbers: in a CSV file, and for TensorBoard if the package `tensorboard` is installed.

The CSV file is authoritative: rows are appended, and a resumed run first drops the rows after its checkpoint and
rewrites the event file from the rest.
"""

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from anyseek.model.files import write_file

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Number = int | float | None


class Records:
    """Rows of numbers, each starting with `step` and `time` (Unix seconds); None is an empty cell.

    `name` is the name of the CSV file and of the folder of events. Existing rows after `step` are dropped.
    """

    def __init__(self, folder: Path, name: str, columns: Sequence[str], step: int) -> None:
        self._path = folder / f"{name}.csv"
        self.columns = ("step", "time", *columns)
        self.rows = [row for row in read_records(self._path) if _number(row["step"]) <= step]
        write_file(self._path, "".join(_line(line) for line in [self.columns, *map(self._cells, self.rows)]))
        self._file: TextIO = self._path.open("a", encoding="utf-8")
        self._events = _event_writer(folder / "tensorboard" / name)
        for row in self.rows:
            self._write_event(row)

    def add(self, row: Mapping[str, Number]) -> None:
        """Append a row; both files have it when this returns."""
        self.rows.append(dict(row))
        self._file.write(_line(self._cells(row)))
        self._file.flush()
        self._write_event(row)

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        if self._events is not None:
            self._events.close()

    def _cells(self, row: Mapping[str, Number]) -> list[str]:
        values = [row.get(column) for column in self.columns]
        return ["" if value is None else f"{value:.8g}" if isinstance(value, float) else str(value) for value in values]

    def _write_event(self, row: Mapping[str, Number]) -> None:
        if self._events is None:
            return
        for key in self.columns[2:]:
            if row.get(key) is not None:
                self._events.add_scalar(key, _number(row[key]), int(_number(row["step"])), _number(row["time"]))
        self._events.flush()


def read_records(path: Path) -> list[dict[str, Number]]:
    """The rows of a CSV file, none if there is no such file; a last row that was cut off is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return [{name: _parsed(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(whole))]


def _parsed(cell: str) -> Number:
    if not cell:
        return None
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)


def _number(value: Number) -> float:
    return float(value or 0)


def _line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _event_writer(folder: Path) -> "SummaryWriter | None":
    """A writer of events that begins anew in `folder`; None where the package that it needs is not installed."""
    shutil.rmtree(folder, ignore_errors=True)
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
