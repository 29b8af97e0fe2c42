"""A fitted decoder of images in the folder of bundled weights.

Vectors do not depend on it, so the fingerprint stays, and collections stay valid. The decoders that ship were fitted by
`model/training/dense` of commit b3515be.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from anyseek.model.files import file_digest, write_file
from anyseek.model.fourm.bundled.bundle import MANIFEST, check_bundle, fingerprint
from anyseek.model.fourm.bundled.dense_decoder import FILE as DECODER


def add_decoder(decoder: Path, to: Path) -> None:
    """Put the file of a decoder into the bundle `to`. Raises what `check_bundle` raises."""
    manifest: dict[str, Any] = json.loads((to / MANIFEST).read_text(encoding="utf-8"))
    if decoder.resolve() != (to / DECODER).resolve():
        shutil.copyfile(decoder, to / DECODER)
    manifest["files"][DECODER] = file_digest(to / DECODER)
    manifest["fingerprint"] = fingerprint(manifest)
    write_file(to / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    check_bundle(to.name, to)  # refuses what would not be served
