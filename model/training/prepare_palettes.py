"""Encode a palette of every plain picture: `python -m model.training.prepare_palettes --home HOME --cache CACHE`.

Writes `palettes.npz` after `prepare`: `rows` int64 (n,) numbers of the pictures, `counts` int64 (n,) how many colours,
`pooled` unit float16 (n, 1280), the encoder's vector of the palette as stripes. Emoji only; development pictures get
five colours, others two to seven in turn.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from model.encoders.efficientnet import IMAGE_SIZE, load_efficientnet
from model.formats.color_palette import stripes
from model.hub import encoders_folder
from model.preprocess import encoder_input
from model.training.concepts import Split
from model.training.rows import PICTURE, Row
from model.training.store import load_store

_BATCH = 2
DEVELOPMENT_COLOURS = 5


@torch.inference_mode()
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    store = load_store(options.cache)
    encoder = load_efficientnet(encoders_folder(options.home) / "efficientnet-lite0.safetensors")
    rows = [n for n, row in enumerate(store.rows) if _has_palette(row)]
    counts = [_colours(n, store.rows[n]) for n in rows]
    pixels = [stripes(store.palettes[n][c - 1][:c], IMAGE_SIZE) for n, c in zip(rows, counts, strict=True)]
    pooled = [
        F.normalize(encoder(encoder_input(pixels[start : start + _BATCH])).pooled, dim=1).half().numpy()
        for start in range(0, len(pixels), _BATCH)
    ]
    beside = options.cache / "palettes.partial"
    with beside.open("wb") as file:
        np.savez(file, rows=np.array(rows), counts=np.array(counts), pooled=np.concatenate(pooled))
    beside.rename(options.cache / "palettes.npz")
    print(f"{len(rows)} palettes")


def _has_palette(row: Row) -> bool:
    return row.domain == PICTURE and row.recipe == "plain" and row.source not in ("photo", "clipart")


def _colours(number: int, row: Row) -> int:
    return DEVELOPMENT_COLOURS if row.split is Split.DEVELOPMENT else 2 + number % 6


if __name__ == "__main__":
    main()
