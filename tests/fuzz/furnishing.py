"""The service that is fuzzed: a fresh one on loopback, with the collections that requests name.

Two have words, in the hashing space. The third one has pictures; where the encoders are pulled it is re-embedded with
the bundled model, which has several spaces, codes, and predicts.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from anyseek import ApiError, Client, Input
from anyseek.model.encoders.pull import encoders_folder
from anyseek.model.home import default_home
from anyseek.search.settings import DEFAULT_MODEL
from tests.fuzz.values import ALIKE, COLLECTION, KEYS, OTHER, PICTURES
from tests.services.anyseek import Anyseek

# What is found again is kept in memory up to a limit; a small one, so that only leaks are seen to grow.
SETTINGS = {"ANYSEEK_LIMITS_ITEM_CACHE_BYTES": "100000"}


@contextmanager
def fresh_service(folder: Path, lines: str = "") -> Iterator[Anyseek]:
    """A service in a fresh data directory, with its collections."""
    (folder / "root").mkdir(parents=True, exist_ok=True)
    service = Anyseek(folder, SETTINGS | {"ANYSEEK_ROOTS": str(folder / "root")}, lines)
    _link_encoders(service.home)
    service.start()
    try:
        furnish(service.url)
        _load_predictor(service.url)
        yield service
    finally:
        service.stop()


def furnish(url: str) -> None:
    """Make the collections and the items that requests name, where they are gone."""
    with Client(url, timeout=300, patience=20) as client:
        held = {one["name"] for one in client.collections()}
        for name in {COLLECTION, ALIKE, OTHER} - held:
            client.create_collection(name)
        for number, key in enumerate(KEYS):
            attributes = {"n": number, "label": "dog", "taken": "2024-05-01", "place": {"lat": 41.9, "lon": 12.5}}
            client.put_item(COLLECTION, key, caption=f"dog {number}", attributes=attributes)
            client.put_item(ALIKE, key, caption=f"cat {number}", attributes=attributes)
        for number, key in enumerate(PICTURES):
            client.put_item(
                OTHER, key, {"rgb": _drawn(number)}, caption=f"a {key}", attributes={"n": number, "label": key}
            )
        if OTHER not in held:
            _move_to_bundled_model(client)


def _move_to_bundled_model(client: Client) -> None:
    """Re-embed the pictures, where that model can be loaded."""
    with suppress(ApiError):
        job = client.reembed(OTHER, DEFAULT_MODEL)
        *_, last = client.watch(job["id"])
        assert last["job"]["state"] == "done", last


def _link_encoders(home: Path) -> None:
    """Let the service load the bundled model, where its encoders are pulled."""
    pulled = encoders_folder(default_home())
    if pulled.is_dir():
        encoders_folder(home).parent.mkdir(parents=True)
        encoders_folder(home).symlink_to(pulled)


def _load_predictor(url: str) -> None:
    """Load the model that predicts, if it is there, so that its memory is no growth."""
    with Client(url, timeout=300) as client, suppress(ApiError):
        client.predict([Input("caption", text="a dog")], ["depth"])


def _drawn(number: int) -> bytes:
    """A PNG of one of a few shapes."""
    across, down = np.meshgrid(np.arange(96), np.arange(96))
    shape = ((across - 48) ** 2 + (down - 40) ** 2 < 900, (across > 20) & (down > 50), abs(across - down) < 12)[
        number % 3
    ]
    colours = np.array([(230, 230, 220), (200, 40 + 50 * number, 60)], np.uint8)
    file = io.BytesIO()
    Image.fromarray(colours[shape.astype(int)]).save(file, "PNG")
    return file.getvalue()
