"""Put a fitted decoder of images into the folder of bundled weights.

    python -m anyseek.model.training.dense.bundling runs/dense/open/dense_decoder.safetensors --to
    model/weights/4m-tiny-open

Vectors do not depend on it, so the fingerprint stays, and collections stay valid.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import click

from anyseek.model.files import file_digest, write_file
from anyseek.model.fourm.bundled.bundle import MANIFEST, check_bundle, fingerprint
from anyseek.model.fourm.bundled.dense_decoder import FILE as DECODER


@click.command()
@click.argument("decoder", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
def main(decoder: Path, to: Path) -> None:
    """Write a decoder and the manifest of a folder of weights."""
    add_decoder(decoder, to)
    size = sum(path.stat().st_size for path in to.iterdir())
    click.echo(f"made {to}: {size / 1e6:.1f} MB")


def add_decoder(decoder: Path, to: Path) -> None:
    """Put the file of a decoder into the bundle `to`. Raises what `check_bundle` raises."""
    manifest: dict[str, Any] = json.loads((to / MANIFEST).read_text(encoding="utf-8"))
    if decoder.resolve() != (to / DECODER).resolve():
        shutil.copyfile(decoder, to / DECODER)
    manifest["files"][DECODER] = file_digest(to / DECODER)
    manifest["fingerprint"] = fingerprint(manifest)
    write_file(to / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    check_bundle(to.name, to)  # refuses what would not be served


if __name__ == "__main__":
    main()
