"""Samples of sources and shards, which are the decoded, aligned modalities of one thing, and splits. No torch.

The value of each modality:

| modality | value |
|---|---|
| `rgb`, `normal` | uint8 (H, W, 3); a normal's [0, 255] stands for [-1, 1] |
| `depth` | float32 (H, W), larger is farther, NaN where not measured |
| `semseg` | `model.seam.Regions` with ids from 0 to 65,535, shared by all samples; `classes` names those present |
| `instances` | `anyseek.model.seam.Regions` too, but with ids that are numbered per sample |
| `canny_edge`, `soft_edge`, `line_drawing` | uint8 (H, W), light on dark; line drawings are by people |
| `caption` | tuple of `Caption`; training draws one at a time |
| `color_palette` | tuple of palettes uint8 (n, 3), n from 1 to 7; training draws one at a time |
| `metadata` | `anyseek.model.modalities.formats.metadata.Metadata` |
| `bounding_boxes` | tuple of `anyseek.model.modalities.formats.boxes.LabelledBox`, corners in [0, 1] |
| `human_pose` | tuple of `anyseek.model.modalities.formats.human_poses.HumanPose` |
| `sam_instance` | tuple of `model.modalities.formats.sam_instances.QueryPoint`, pixels of the 224 x 224 picture |
| `tok_…`, `…_features`, `…_pooled`, … | an array: finite numbers, float16 once stored, or integers |
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, Self

from pydantic import model_validator

from anyseek.model.config import Config, Share


class Split(StrEnum):
    """The use of a sample."""

    TRAIN = "train"
    VAL = "val"  # for choosing constants; neither trained on nor reported
    TEST = "test"


class Origin(StrEnum):
    """The author of a caption."""

    HUMAN = "human"
    TEMPLATE = "template"  # composed from labels and attributes


@dataclass(frozen=True)
class Caption:
    """A text that describes a sample."""

    text: str
    origin: Origin


@dataclass(frozen=True)
class DataSample:
    """One thing: `key` (unique in its source), `values` by modality (see above), `attributes` (plain JSON).

    Attributes with a meaning, all optional: `label` (str), `tags` (list of str), `medium` (str, such as "photo"),
    `concept` (str, shared by samples of a source that show the same), `original_width` and `original_height` (pixels).
    """

    key: str
    values: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """A source of samples.

    Worker processes get a pickled copy, so it holds paths and numbers, no open files. `sample(key)` returns the same
    values on every call and in every process.
    """

    @property
    def name(self) -> str: ...

    @property
    def licence(self) -> str:
        """The licences of the data and whom to credit, in one line."""
        ...

    @property
    def origin(self) -> str:
        """Identifies the exact data: pinned packages, or a digest of the files. A new origin makes a new data set."""
        ...

    def keys(self, split: Split) -> Sequence[str]:
        """The keys of a split in a fixed order; no key is in two splits. Raises `SourceUnavailable`."""
        ...

    def sample(self, key: str) -> DataSample:
        """The sample with this key. Raises `SampleInvalid` if it cannot be read."""
        ...


def shard_key(source: str, key: str) -> str:
    """The key of a sample inside shards: `source/key`, where `.` and other special characters become `%2E` and so on.

    The WebDataset convention ends a key at its first dot.
    """
    return f"{_quote(source)}/{_quote(key)}"


def _quote(text: str) -> str:
    def percent(match: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in match.group().encode())

    parts = (re.sub(r"[^A-Za-z0-9_+-]", percent, part) for part in text.split("/"))
    return "/".join(part or "%" for part in parts)  # no part may be empty: `a//b` is not `a/b`


class Shares(Config):
    """The shares of `val` and `test` in a source without splits of its own; the rest is for training."""

    val: Share = 0.05
    test: Share = 0.05

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if self.val + self.test > 1:
            raise ValueError("must leave something for training")
        return self

    def split_of(self, group: str) -> Split:
        """The split of all samples of `group`, by its hash: the same on every machine."""
        position = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 2**32
        if position < self.test:
            return Split.TEST
        return Split.VAL if position < self.test + self.val else Split.TRAIN
