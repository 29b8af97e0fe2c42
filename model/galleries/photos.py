"""The gallery `photos`: 200 photographs in the public domain and their titles, in one file that ships with the project.

`photos.tar` has `photos.json`, which says what is known of each photo, and their WebP files.
It was made by `model/galleries/make_photos.py` of commit b3515be.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from anyseek.model.data.errors import ShardCorrupt
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
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise ShardCorrupt(f"{archive} is damaged: its sha256 is {found}, not {sha256}; install Anyseek again")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        read = {name: file.read() for name, file in files.items() if file}
    return [Photo(**about, webp=read[file_of(about["id"])]) for about in json.loads(read[LIST])]


def file_of(photo: str) -> str:
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
