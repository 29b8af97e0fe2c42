"""Put fitted towers beside a bundled network, in a folder that `--model /FOLDER` takes.

    python -m anyseek.model.training.towers.bundling runs/towers/all/towers.safetensors --to model/weights/4m-tiny
    python -m anyseek.model.training.towers.bundling runs/towers/open/towers.safetensors --to model/weights/4m-tiny-open
    --share

The network, its tokenizers and its other files are copied from `--network`, unless it is the same folder. With
`--share` the new folder, which must lie beside that of the network, refers to it; it has only the towers, and the
decoder of images that `anyseek.model.training.release.release` puts there.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import click

from anyseek.model.files import file_digest, write_file
from anyseek.model.fourm.bundled.bundle import (
    ANSWERS,
    CERTAINTY,
    MANIFEST,
    TOWERS_FOR,
    WEIGHTS,
    check_bundle,
    fingerprint,
)
from anyseek.model.fourm.bundled.dense_decoder import FILE as DECODER
from anyseek.model.towers.space import CLASSES_FILE, load_towers
from anyseek.model.towers.space import FILE as TOWERS

# Modalities that the network's own spaces find better: what it predicts from a palette, no look of it says.
BETTER_PREDICTED = frozenset({"color_palette"})


@click.command()
@click.argument("towers", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--network", type=click.Path(file_okay=False, path_type=Path), default=WEIGHTS / "4m-tiny")
@click.option("--share", is_flag=True, help="Refer to the network's files instead of copying them.")
@click.option("--licence", help="The licence of the weights; by default that of the network's folder.")
def main(towers: Path, to: Path, network: Path, share: bool, licence: str | None) -> None:
    """Write a folder with a bundled network and fitted towers."""
    write_bundle(towers, network, to, licence, share)
    size = sum(path.stat().st_size for path in to.iterdir())
    click.echo(f"made {to}: {size / 1e6:.1f} MB")


def write_bundle(towers: Path, network: Path, to: Path, licence: str | None = None, share: bool = False) -> None:
    """Write the bundle `to` from the network in a bundle's folder and the file of the towers, beside that of classes.

    With `share` it refers to the network's folder, beside which it must lie.

    The towers' space becomes the default of every modality that they take, but for `BETTER_PREDICTED`. Raises what
    `check_bundle` and `load_towers` raise.
    """
    taken = load_towers(towers).weights
    manifest: dict[str, Any] = json.loads((network / MANIFEST).read_text(encoding="utf-8"))
    to.mkdir(parents=True, exist_ok=True)
    if share:
        manifest["network"] = network.name
        _keep_decoder(manifest, to)
    elif network.resolve() != to.resolve():
        for name in manifest["files"].keys() - {TOWERS, CLASSES_FILE}:
            shutil.copyfile(network / name, to / name)
    shutil.copyfile(towers, to / TOWERS)
    if not share:
        shutil.copyfile(towers.with_name(CLASSES_FILE), to / CLASSES_FILE)
        manifest["files"][CLASSES_FILE] = file_digest(to / CLASSES_FILE)
    manifest["name"] = to.name
    manifest["licence"] = licence or manifest["licence"]
    manifest["files"][TOWERS] = file_digest(to / TOWERS)
    for fitted in (CERTAINTY, ANSWERS):
        manifest.pop(fitted, None)  # to other towers
    manifest[TOWERS_FOR] = sorted(taken.keys() - BETTER_PREDICTED)
    manifest["fingerprint"] = fingerprint(manifest)
    write_file(to / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    check_bundle(to.name, to)  # refuses what would not be served


def _keep_decoder(manifest: dict[str, Any], to: Path) -> None:
    """List the folder's own decoder of images instead of the network's, which may have learned from other data."""
    manifest["files"].pop(DECODER, None)
    if (to / DECODER).is_file():
        manifest["files"][DECODER] = file_digest(to / DECODER)


if __name__ == "__main__":
    main()
