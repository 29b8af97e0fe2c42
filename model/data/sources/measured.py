"""Photos with maps measured or drawn by people: depth from a sensor, regions outlined by hand.

The shards are `depth-CLASS-*.tar` and `segmentation-CLASS-*.tar`. They hold a photo, `KEY.depth.png` in 16-bit
millimetres (0 where nothing was measured) and `KEY.semseg.png` in 8-bit ids. The `classes.json` next to them names each
source's ids; 0 has no name.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.model.data.codecs import read_value
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import SourceKind
from anyseek.model.data.samples import DataSample, Split
from anyseek.model.data.sources.packs import PackEntry, PackOptions, read_pack
from anyseek.model.seam import FloatArray, Regions

_DEPTH = "NYU Depth v2 (Silberman, Hoiem, Kohli, Fergus) and peach-rgbd (tsing-luo), no licence found, research only"
_SEGMENTATION = (
    "open: Clothing Co-Parsing (Yang, Luo, Lin), Apache-2.0, COCO photos CC BY 2.0 and CC BY-SA 2.0 with annotations "
    "CC BY 4.0 (COCO Consortium); research: COCO photos under non-commercial licences"
)
LICENCES: Mapping[str, str] = {"depth": _DEPTH, "segmentation": _SEGMENTATION}
_MILLIMETRES = 1000.0
_VOID = 0  # the id of what nobody named


class MeasuredSource:
    """Keys are `open/NUMBER` and `research/NUMBER`. Depth is in metres, NaN where it was not measured."""

    def __init__(self, name: str, options: PackOptions, pack: str) -> None:
        """Reads what is said of every sample of the pack `depth` or `segmentation`. Raises `SourceUnavailable`."""
        self.name, self.licence = name, LICENCES[pack]
        self._pack = read_pack(pack, options)
        self._classes = _read_classes(options.path / "classes.json")
        self.origin = self._pack.origin

    def keys(self, split: Split) -> Sequence[str]:
        return self._pack.keys(split)

    def sample(self, key: str) -> DataSample:
        entry = self._pack.entries[key]
        values: dict[str, Any] = {"rgb": entry.photo()}
        if "depth.png" in entry.files:
            values["depth"] = metres(read_value("depth", entry.file("depth.png"), f"the depth of {entry.about['id']}"))
        if "semseg.png" in entry.files:
            values["semseg"] = self._regions(entry)
        return DataSample(key, values, {"medium": "photo", **entry.attributes})

    def _regions(self, entry: PackEntry) -> Regions:
        ids = read_value("semseg", entry.file("semseg.png"), f"the regions of {entry.about['id']}").ids.astype(np.int32)
        names = self._classes.get(entry.source, {})
        there = [int(one) for one in np.unique(ids)]
        if unknown := [one for one in there if one not in names and one != _VOID]:
            raise SampleInvalid(f"{entry.about['id']} has regions of id {unknown[0]}, which classes.json does not name")
        return Regions(ids, {one: names[one] for one in there if one != _VOID})


def metres(stored: FloatArray) -> FloatArray:
    """Millimetres (H, W), NaN where not measured, as float32 metres."""
    return (stored / _MILLIMETRES).astype(np.float32)


def _read_classes(path: Path) -> dict[str, dict[int, str]]:
    """Names of ids by source. Raises `SourceUnavailable`."""
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        return {source: {int(one): str(name) for one, name in names.items()} for source, names in written.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise SourceUnavailable(f"{path} does not name the ids of each source: {error}") from error


DEPTH = SourceKind(PackOptions, lambda name, options, place: MeasuredSource(name, options, "depth"))
SEGMENTATION = SourceKind(PackOptions, lambda name, options, place: MeasuredSource(name, options, "segmentation"))
