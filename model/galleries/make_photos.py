"""Make `photos.tar`, the gallery of photographs: python -m anyseek.model.galleries.make_photos PACK [--out FILE].

PACK is the folder of the shards `captions-open-*.tar` (docs/data.md). Taken are the photographs of its public-domain
sources: first those of the test split, then those of the validation split up to 200, so that no bundled weights were
trained on them. Photos of more than 160 pixels on the long side are scaled; the others keep their bytes. It prints what
it took and the digest that `anyseek.model.galleries.photos` checks.
"""

import argparse
import hashlib
import io
import json
import tarfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.packs import Classes, Pack, PackEntry, PackOptions, read_pack
from anyseek.model.files import write_file
from anyseek.model.galleries.photos import ARCHIVE, LIST, Photo, file_of

SOURCES = ("documerica", "fsa-colour", "fsa-owi")  # in the public domain
MOST = 200
LONGEST = 160  # pixels of a photo's long side
_WEBP = {"quality": 68, "method": 6}  # as in the pack


def chosen_photos(pack: Pack, most: int = MOST) -> list[Photo]:
    """Return at most `most` photos of the pack: those of the test split, then those of the validation split."""
    keys = [key for split in (Split.TEST, Split.VAL) for key in pack.keys(split)]
    return [_photo(pack.entries[key]) for key in keys[:most]]


def archive_of(photos: list[Photo]) -> bytes:
    """Return a tar file of the photos; the same photos always give the same bytes."""
    told = [{name: value for name, value in asdict(photo).items() if name != "webp"} for photo in photos]
    lines = ",\n".join(json.dumps(about, ensure_ascii=False) for about in told)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, LIST, f"[\n{lines}\n]\n".encode())
        for photo in photos:
            _add(tar, file_of(photo.id), photo.webp)
    return file.getvalue()


def _photo(entry: PackEntry) -> Photo:
    about = entry.about
    return Photo(
        id=about["id"],
        title=about["captions"][0],
        source=entry.source,
        licence=about["license"],
        origin=about["from"],
        split=about["split"],
        webp=_small(entry.file("webp")),
    )


def _small(webp: bytes) -> bytes:
    """Return the file itself, or a scaled one if the photo is longer than `LONGEST`."""
    with Image.open(io.BytesIO(webp)) as picture:
        if max(picture.size) <= LONGEST:
            return webp
        scale = LONGEST / max(picture.size)
        width, height = (round(side * scale) for side in picture.size)
        file = io.BytesIO()
        picture.resize((width, height), Image.Resampling.LANCZOS).save(file, "WEBP", **_WEBP)
    return file.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # of time zero, owner root
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--out", type=Path, default=ARCHIVE)
    arguments = parser.parse_args()
    photos = chosen_photos(read_pack("captions", PackOptions(arguments.pack, Classes.OPEN, SOURCES)))
    data = archive_of(photos)
    write_file(arguments.out, data)
    for (source, split), count in sorted(Counter((photo.source, photo.split) for photo in photos).items()):
        print(f"{source} {split}: {count}")
    print(f"{len(photos)} photos, {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
