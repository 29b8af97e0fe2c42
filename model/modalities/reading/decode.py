"""One modality's bytes to its value, the same way for queries, items and training data.

`anyseek.model.modalities.registry.Content` says what each modality's value is; the record of its content in
`anyseek.model.modalities.values` says which function decodes it.
"""

from collections.abc import Mapping
from pathlib import Path

from anyseek.model.modalities.reading.budget import budget_of_request
from anyseek.model.modalities.reading.decoder_messages import Wanted
from anyseek.model.modalities.reading.decoders import decoders_of_service, goes_apart
from anyseek.model.modalities.reading.encoded import WORKING_SIDE, Encoded, FileLimits
from anyseek.model.modalities.reading.errors import TooManyBytes, UnknownModality
from anyseek.model.modalities.reading.files import read_file
from anyseek.model.modalities.registry import MODALITIES, Content, Modality, resolve
from anyseek.model.modalities.values import CONTENTS
from anyseek.model.seam import Value


def decode(
    modality: str, data: bytes, limits: FileLimits, name: str, classes: Mapping[int, str] | None = None
) -> Value:
    """The value that `data` stands for as `modality` (a name or an alias); `name` is what errors call the input.

    Pictures and maps come with sides of at most `WORKING_SIDE`; `classes` names the ids of a region map. What it
    costs is taken from the budget of the request, whose large pictures are decoded in a process apart. Raises a
    `DecodeError`, and nothing else whatever the bytes; `RequestAbandoned` for a request whose client has left.
    """
    budget = budget_of_request()
    file = Encoded(data, name, limits, classes or {}, WORKING_SIDE, budget)
    content = known_modality(modality).content
    if budget is None:
        return decode_content(content, file)
    budget.check()
    decoders = decoders_of_service()
    if decoders is not None and goes_apart(content, data):
        return decoders.read(Wanted(content), file, budget).value
    with budget.decoding(name):
        return decode_content(content, file)


def decode_content(content: Content, file: Encoded) -> Value:
    """The value of that content in a file. Raises a `DecodeError`, and nothing else whatever the bytes."""
    return CONTENTS[content].decode(checked(file))


def checked(file: Encoded) -> Encoded:
    """The file itself. Raises `TooManyBytes`."""
    most = file.limits.bytes_per_file
    if len(file.data) > most:
        raise TooManyBytes(f"{file.name} has {len(file.data):,} bytes; at most {most:,} are allowed")
    return file


def decode_file(modality: str, path: Path, limits: FileLimits, classes: Mapping[int, str] | None = None) -> Value:
    """Read and decode a file. Raises `InputError` if it cannot be had, `DecodeError` if it is not `modality`."""
    known_modality(modality)
    return decode(modality, read_file(path, limits, str(path)), limits, str(path), classes)


def known_modality(name: str) -> Modality:
    """The modality of that name or alias. Raises `UnknownModality`, naming the known ones."""
    try:
        return resolve(name)
    except KeyError as error:
        raise UnknownModality(f"{name!r} is not a modality; the modalities are {', '.join(MODALITIES)}") from error
