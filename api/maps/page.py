"""A map as one page that asks nobody for anything: its places, its thumbnails, style and script are in it."""

import base64
import hashlib
import html
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MOST_THUMBNAILS = 1_500  # the other items are points; with so many the page has about 5 MB
_SIDE, _QUALITY = 112, 55  # of thumbnails, as WebP
_WEB = Path(__file__).parents[1] / "web"

_START = """
const found = JSON.parse(document.getElementById("found").textContent);
const pictures = new Map();
const pictureOf = ({ key, picture }) => {
  if (picture && !pictures.has(key)) pictures.set(key, Object.assign(new Image(), { src: picture, alt: "" }));
  return pictures.get(key) ?? null;
};
const address = ({ key }) => `${found.service}/#${new URLSearchParams({ c: found.collection, item: key })}`;
const open = found.service && ((place) => window.open(address(place), "_blank", "noopener"));
const [canvas, legend, card] = ["map", "legend", "card"].map((id) => document.getElementById(id));
showMap({ canvas, legend, card }, found, pictureOf, open);
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="content-security-policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p>{about}</p></header>
<main>
<canvas id="map" tabindex="0" role="img" aria-label="{about}"></canvas>
<ul id="legend" aria-label="Colours"></ul>
<p id="card" role="status" hidden></p>
</main>
<script type="application/json" id="found">{found}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def page_of(
    collection: str, found: dict[str, Any], thumbnail: Callable[[str], Image.Image | None], service: str | None
) -> bytes:
    """The page of a map, an answer of `GET /v1/collections/{c}/map`, in UTF-8.

    `thumbnail` gives that of a key; up to `MOST_THUMBNAILS`, evenly chosen, are in the page. A click opens the item at
    `service`, the address of a service, and nothing without one.
    """
    places = found["places"]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(len(places), MOST_THUMBNAILS)).round().astype(int))
    shown = [dict(place) for place in places]
    for number in chosen.tolist():
        picture = thumbnail(shown[number]["key"])
        if picture is not None:
            shown[number]["picture"] = _as_address(picture)
    style, script = (_WEB / "map.css").read_text("utf-8"), (_WEB / "map.js").read_text("utf-8") + _START
    members = {"collection": collection, "service": service, "places": shown, "legend": found["legend"]}
    page = _PAGE.format(
        policy=html.escape(_policy(style, script)),
        title=html.escape(f"{collection}: a map"),
        about=html.escape(_about(found)),
        style=style,
        # A key may hold what would end the element.
        found=json.dumps(members).replace("<", "\\u003c"),
        script=script,
    )
    return page.encode()


def _policy(style: str, script: str) -> str:
    """Only this style and this script run, and only pictures in the page itself are shown."""
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _about(found: dict[str, Any]) -> str:
    shown, held = len(found["places"]), found["items"]
    many = f"{shown:,} items" if shown == held else f"{shown:,} of {held:,} items"
    return f"{many}, alike ones near each other. Drag to move, turn the wheel to zoom; keys: arrows, + and -."


def _as_address(picture: Image.Image) -> str:
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    small.save(file, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
