"""Convert samples to shard entries and back, one file per field, and read users' files as sample values. No torch.

The records in `anyseek.model.data.contents` define how each field's content is handled.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from anyseek.model.data.contents import ARRAYS, stored_content
from anyseek.model.data.encodings import to_json
from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.samples import DataSample
from anyseek.model.data.shards import ATTRIBUTES, Entry
from anyseek.model.errors import BadInput
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.reading.encoded import Encoded, FileLimits, read_file
from anyseek.model.modalities.reading.errors import DecodeError, InputError

_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    SyntaxError,  # what Pillow raises for some broken PNG files
    BadInput,
    FormatInvalid,
    Image.DecompressionBombError,
)


def read_file_value(field: str, path: Path, classes: Mapping[int, str]) -> Any:
    """The value in a user's file, as `read_value` gives it. Raises `SampleInvalid`, naming the file."""
    try:
        data = read_file(path, FileLimits(), str(path))
    except InputError as error:
        raise SampleInvalid(str(error)) from error
    return read_value(field, data, str(path), classes)


def read_value(field: str, data: bytes, name: str, classes: Mapping[int, str] | None = None) -> Any:
    """Read a value from a user's file, as a query's is read, but at the file's own size.

    Errors call the file `name`; `classes` names the ids of a region map. Raises `SampleInvalid`.
    """
    read = stored_content(field).read
    try:
        return read(Encoded(data, name, classes=classes or {}, side=None))
    except DecodeError as error:
        raise SampleInvalid(str(error)) from error
    except _UNREADABLE as error:
        raise SampleInvalid(f"{name} is no {field}: {error}") from error


def encode_value(field: str, value: Any) -> tuple[str, bytes]:
    """Encode a value as a file: its name `<field>.<ending>` and its bytes.

    Raises `SampleInvalid`, also for a field that is neither a modality nor named as an array.
    """
    encode = stored_content(field).encode
    try:
        ending, data = encode(value)
    except _UNREADABLE as error:
        raise SampleInvalid(f"a value of {field} cannot be stored: {error}") from error
    return f"{field}.{ending}", data


def decode_value(name: str, data: bytes) -> Any:
    """Decode the value of a file named `<field>.<ending>`; a file ending in `.npy` is an array, whatever its field.

    Raises `SampleInvalid`.
    """
    field, _, ending = name.partition(".")
    decode = (ARRAYS if ending == "npy" else stored_content(field)).decode
    try:
        return decode(data)
    except _UNREADABLE as error:
        raise SampleInvalid(f"{name} cannot be read: {error}") from error


def entry_of(key: str, sample: DataSample) -> Entry:
    """A sample as files under `key`. Raises `SampleInvalid`."""
    files = dict(encode_value(field, value) for field, value in sample.values.items())
    return Entry(key, {**files, ATTRIBUTES: to_json({**sample.attributes, "key": sample.key})})


def sample_of(entry: Entry) -> DataSample:
    """The sample in an entry; its key is the one in its source. Raises `SampleInvalid`."""
    values = {n.partition(".")[0]: decode_value(n, data) for n, data in entry.files.items() if n != ATTRIBUTES}
    attributes = attributes_of(entry)
    return DataSample(attributes.pop("key", entry.key), values, attributes)


def attributes_of(entry: Entry) -> dict[str, Any]:
    """An entry's attributes, `key` among them; empty if it has none. Raises `SampleInvalid`."""
    try:
        found = json.loads(entry.files.get(ATTRIBUTES, b"{}"))
    except ValueError as error:
        raise SampleInvalid(f"{ATTRIBUTES} of {entry.key} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise SampleInvalid(f"{ATTRIBUTES} of {entry.key} is not a JSON object")
    return found
