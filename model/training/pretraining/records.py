"""Numbers of a run as it goes: a CSV file, and the same as a TensorBoard event file. No torch.

The CSV file is the truth: rows are appended, and a run that is resumed first cuts off those after its checkpoint and
writes the event file anew from the rest.
"""

import csv
import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

Number = int | float | None


class Records:
    """Rows of numbers, each with `step` and `time` (Unix seconds) first; None is an empty cell.

    `name` is that of the CSV file and of the event file's folder. Rows after `step` that are already there are dropped.
    """

    def __init__(self, folder: Path, name: str, columns: Sequence[str], step: int) -> None:
        self._path = folder / f"{name}.csv"
        self.columns = ("step", "time", *columns)
        self.rows = [row for row in read_records(self._path) if _number(row["step"]) <= step]
        beside = self._path.with_name(f".{self._path.name}.partial")
        beside.write_text("".join(_line(line) for line in [self.columns, *map(self._cells, self.rows)]))
        beside.replace(self._path)
        self._file: TextIO = self._path.open("a", encoding="utf-8")
        events = folder / "tensorboard" / name / "events.out.tfevents.0.anyseek"
        events.parent.mkdir(parents=True, exist_ok=True)
        self._events: BinaryIO = events.open("wb")
        self._events.write(_record(_event(0.0, 0, {}, version="brain.Event:2")))
        for row in self.rows:
            self._write_event(row)
        self._events.flush()

    def add(self, row: Mapping[str, Number]) -> None:
        """Append a row; both files have it when this returns."""
        self.rows.append(dict(row))
        self._file.write(_line(self._cells(row)))
        self._file.flush()
        self._write_event(row)
        self._events.flush()

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        self._events.close()

    def _cells(self, row: Mapping[str, Number]) -> list[str]:
        values = [row.get(column) for column in self.columns]
        return ["" if value is None else f"{value:.8g}" if isinstance(value, float) else str(value) for value in values]

    def _write_event(self, row: Mapping[str, Number]) -> None:
        values = {key: float(row[key] or 0) for key in self.columns[2:] if row.get(key) is not None}
        self._events.write(_record(_event(_number(row["time"]), int(_number(row["step"])), values)))


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


def _event(time: float, step: int, values: Mapping[str, float], version: str = "") -> bytes:
    """TensorBoard's message `Event`: wall_time, step, and the file's version or a summary of scalars."""
    event = b"\x09" + struct.pack("<d", time) + b"\x10" + _varint(step)
    if version:
        return event + _bytes(3, version.encode())
    scalars = [_bytes(1, _bytes(1, tag.encode()) + b"\x15" + struct.pack("<f", value)) for tag, value in values.items()]
    return event + _bytes(5, b"".join(scalars))


def _bytes(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _record(message: bytes) -> bytes:
    """A message as TFRecord files frame it: length, message, and a masked CRC-32C of each."""
    length = struct.pack("<Q", len(message))
    return length + struct.pack("<I", _masked_crc(length)) + message + struct.pack("<I", _masked_crc(message))


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC_TABLE = _crc_table()


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
