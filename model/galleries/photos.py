"""The galleries `photos` and `rooms` of the demo, which ship with the project, and the credits of all its galleries.

`photos.tar` has 200 photographs in the public domain, as WebP files, and `photos.json`, which describes them. It was
made by `model/galleries/make_photos.py` of commit b3515be. The 300 rendered views in `rooms/` are of the test split of
the renderer of commit b311e2f (docs/data.md).
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.data.errors import ShardCorrupt
from anyseek.model.galleries.openmoji import ATTRIBUTION
from anyseek.model.modalities.drawings import ByteArray

ARCHIVE = Path(__file__).with_name("photos.tar")
ARCHIVE_SHA256 = "738efacdad27a7ef382a03fd678022a9e7ebafcd39c2cb5e2a3e4b7c33e0cdf3"
LIST = "photos.json"


@dataclass(frozen=True)
class Photo:
    """A photograph: its WebP file, at most 160 pixels on the long side, and what is known of it.

    `id` begins with the name of the source; `origin` is the file that the photo was taken from: repository, commit and
    path. `split` is that of the data set `captions`, `test` or `val`: no bundled weights were trained on it.
    """

    id: str
    title: str
    source: str
    licence: str
    origin: str
    split: str
    webp: bytes

    def picture(self) -> ByteArray:
        """Return the decoded photo: uint8 (H, W, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.webp)).convert("RGB"))


def read_photos(archive: Path = ARCHIVE, sha256: str = ARCHIVE_SHA256) -> list[Photo]:
    """Read all photos of the archive. Raises `ShardCorrupt` if it is missing or its digest is not `sha256`."""
    try:
        data = archive.read_bytes()
    except OSError as error:
        raise ShardCorrupt(f"{archive} cannot be read ({error.strerror}); install Anyseek again") from error
    if (digest := hashlib.sha256(data).hexdigest()) != sha256:
        raise ShardCorrupt(f"{archive} is damaged: its sha256 is {digest}, not {sha256}; install Anyseek again")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        read = {name: file.read() for name, file in files.items() if file}
    return [Photo(**about, webp=read[photo_file_name(about["id"])]) for about in json.loads(read[LIST])]


def photo_file_name(photo: str) -> str:
    """Return the name of the photo's file, in the archive and in the demo's folder."""
    return f"{photo}.webp"


def photo_credits(photos: Sequence[Photo]) -> str:
    """Return whose photos these are, with the licence of each source and a line for each photo."""
    sources = sorted({(photo.source, photo.licence) for photo in photos})
    licences = "\n".join(f"  {source}: {licence}" for source, licence in sources)
    taken = "\n".join(f"  {photo.id}: {photo.title} [{photo.origin}]" for photo in photos)
    return (
        "Photographs made for agencies of the United States government: the Farm Security Administration\n"
        "and the Office of War Information (1935-1944, Library of Congress), and the Environmental\n"
        "Protection Agency's project DOCUMERICA (1970s, National Archives). People in them may have rights\n"
        "of publicity or privacy. The titles are those of the archives, in the words of their time. Photos\n"
        "were made smaller; the origin of each is in brackets.\n\n"
        f"{licences}\n\n{taken}\n"
    )


FOLDER = Path(__file__).with_name("rooms")
CREDITS, _MANIFEST = "CREDITS.txt", "manifest.jsonl"


def read_views(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The lines of the manifest: a view each, paths relative to `folder`."""
    return [json.loads(line) for line in (folder / _MANIFEST).read_text("utf-8").splitlines()]


_EMOJIBASE_LICENCE = Path(__file__).with_name("LICENSE.emojibase-data.txt")
_CC_BY_SA = "https://creativecommons.org/licenses/by-sa/4.0/"


def credits_text() -> str:
    """Return the credits of all demo collections as plain text. Raises `ShardCorrupt` if the photos are damaged."""
    return "\n".join(
        (
            "The collection openmoji\n",
            f"{ATTRIBUTION}\nCC BY-SA 4.0: {_CC_BY_SA}\n\nThe licence of emojibase-data:\n",
            _EMOJIBASE_LICENCE.read_text("utf-8"),
            "\nThe collection rooms\n",
            (FOLDER / CREDITS).read_text("utf-8"),
            "\nThe collection photos\n",
            photo_credits(read_photos()),
        )
    )
