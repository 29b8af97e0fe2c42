"""How often the form of real depth maps is guessed right, by source and convention.

    python -m benchmarks.depth_forms SHARD.tar [--limit 300]

SHARD holds `NAME.depth.png` (16-bit, millimetres, 0 is not measured) and `NAME.json` with its `source`.
"""

import argparse
import io
import json
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from anyseek.model.seam import FloatArray
from anyseek.search.evaluation.depth_forms import measure_forms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shard", type=Path)
    parser.add_argument("--limit", type=int, default=None, help="at most so many maps of each source")
    asked = parser.parse_args()
    for source, maps in _read(asked.shard).items():
        row = measure_forms(source, maps[: asked.limit])
        told = ", ".join(f"{name} {share:.3f}" for name, share in row.right.items())
        print(f"{row.source}: {row.mean:.3f} of {row.maps} maps in {len(row.right)} conventions: {told}")


def _read(shard: Path) -> dict[str, list[FloatArray]]:
    """The maps of each source in metres."""
    found: dict[str, list[FloatArray]] = defaultdict(list)
    maps: dict[str, FloatArray] = {}
    with tarfile.open(shard) as archive:
        for member in archive:
            name, stream = member.name, archive.extractfile(member)
            data = b"" if stream is None else stream.read()
            if name.endswith(".depth.png"):
                metres = np.asarray(Image.open(io.BytesIO(data)), np.float32) / 1000
                maps[name.removesuffix(".depth.png")] = np.where(metres == 0, np.float32(np.nan), metres)
            elif name.endswith(".json") and name.removesuffix(".json") in maps:
                found[json.loads(data)["source"]].append(maps.pop(name.removesuffix(".json")))
    return found


if __name__ == "__main__":
    main()
