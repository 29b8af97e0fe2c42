"""Find the cases of a directory, and the files beside each case."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from anyseek.model.errors import ModelError

Arrays = Mapping[str, npt.NDArray[Any]]

_JSON_CASES = ("schedules.json", "text_formats.json")


class GoldenCaseInvalid(ModelError):
    """A golden case lacks a file, an entry or a value that its kind needs."""

    code = "golden-case-invalid"


@dataclass(frozen=True)
class Case:
    """One file of recorded numbers, named by its file stem."""

    name: str
    path: Path

    @cached_property
    def arrays(self) -> Arrays:
        """The arrays of an `.npz` case in file order; empty for other files."""
        if self.path.suffix != ".npz":
            return {}
        with np.load(self.path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    @cached_property
    def document(self) -> dict[str, Any]:
        """The object in a JSON case, gzipped or not; empty for other files."""
        if ".json" not in self.path.suffixes:
            return {}
        return _read_object(self.path)

    @cached_property
    def manifest(self) -> Any:
        """Its entry in the directory's manifests, None if there is none."""
        return self.manifest_of(self.name)

    def manifest_of(self, name: str) -> Any:
        """The entry for the case `name` in the directory's manifests."""
        for path in sorted(self.path.parent.glob("*manifest.json")):
            entries = _read_object(path)
            if name in entries:
                return entries[name]
        return None

    @cached_property
    def tag(self) -> str | None:
        """The longest dotted beginning of its name that has a `<tag>.config.json`, None where there is none."""
        words = self.name.split(".")
        for count in range(len(words), 0, -1):
            tag = ".".join(words[:count])
            if (self.path.parent / f"{tag}.config.json").is_file():
                return tag
        return None

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config of its network, already parsed. Raises `GoldenCaseInvalid` where there is none."""
        if self.tag is None:
            raise GoldenCaseInvalid(f"there is no config for {self.name} next to {self.path}")
        return _read_object(self.path.parent / f"{self.tag}.config.json")


def find_cases(directory: Path, only: str = "*") -> list[Case]:
    """The cases of a directory whose names match the glob `only`.

    A case is an `.npz` file, `schedules.json`, `text_formats.json` or a file of `keys/` other than its index.
    """
    paths = sorted(directory.glob("*.npz"))
    paths += [directory / name for name in _JSON_CASES if (directory / name).is_file()]
    paths += [path for path in sorted((directory / "keys").glob("*.json*")) if path.name != "index.json"]
    cases = [Case(_stem(path), path) for path in paths]
    return [case for case in cases if fnmatchcase(case.name, only)]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".json").removesuffix(".npz")


def _read_object(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    if not isinstance(document, dict):
        raise GoldenCaseInvalid(f"{path} must hold a JSON object")
    return cast(dict[str, Any], document)
