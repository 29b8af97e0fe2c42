"""Render the training pictures and keep what the image encoder makes of them.

    python -m model.training.prepare --photos PHOTOS --home HOME --cache CACHE [--limit 55000] [--part 0/2]

Writes `features/NNNN.npz` (500 rows each) and `projection.safetensors` (the PCA of the feature maps) into the cache.
Started again it goes on where it was; two processes with `--part 0/2` and `--part 1/2` share the work.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from model.drawing import ByteArray
from model.encoders.efficientnet import CHANNELS, EfficientNetLite0, Features, load_efficientnet
from model.feature_maps import MAP_CHANNELS, Projection, load_projection
from model.formats.color_palette import MOST_COLOURS, palette_of
from model.hub import encoders_folder
from model.preprocess import encoder_input
from model.training.rows import PICTURE, Row, Sources, load_sources, plan_rows

CHUNK = 500
_BATCH = 2  # on a CPU the encoder is fastest while its maps fit the cache
_PROJECTION_ROWS = 1500


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--cliparts", type=Path, default=Path("/usr/share/openclipart/png"))
    parser.add_argument("--home", type=Path, required=True, help="where `anyseek models pull encoders` put them")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="stop after so many rows; the order is that of their worth")
    parser.add_argument("--part", default="0/1")
    options = parser.parse_args()
    sources, art = load_sources(options.photos, options.cliparts, options.cache / "sources")
    rows = plan_rows(sources, art)
    encoder = load_efficientnet(encoders_folder(options.home) / "efficientnet-lite0.safetensors")
    (options.cache / "features").mkdir(parents=True, exist_ok=True)
    (options.cache / "rows.json").write_text(json.dumps([asdict(row) for row in rows]))
    projection_file = options.cache / "projection.safetensors"
    if not projection_file.exists():
        _write_projection(projection_file, sources, rows, encoder)
    part, parts = (int(text) for text in options.part.split("/"))
    projection = load_projection(projection_file)
    for start in range(part * CHUNK, options.limit or len(rows), parts * CHUNK):
        target = options.cache / "features" / f"{start // CHUNK:04d}.npz"
        if not target.exists():
            _write_chunk(target, sources, rows[start : start + CHUNK], encoder, projection)
            print(f"{target.name}: rows {start} to {min(start + CHUNK, len(rows))} of {len(rows)}", flush=True)


def _write_projection(target: Path, sources: Sources, rows: list[Row], encoder: EfficientNetLite0) -> None:
    """Fit the PCA of feature-map vectors on an even choice of rows."""
    step = max(len(rows) // _PROJECTION_ROWS, 1)
    total, scatter, count = np.zeros(CHANNELS), np.zeros((CHANNELS, CHANNELS)), 0
    for row in rows[::step]:
        grid = _encode(encoder, [sources.pixels(row)]).grid[0].flatten(1).T.double().numpy()  # (49, 1280)
        total, scatter, count = total + grid.sum(axis=0), scatter + grid.T @ grid, count + len(grid)
    mean = total / count
    values, axes = np.linalg.eigh(scatter / count - np.outer(mean, mean))
    kept = slice(None, -MAP_CHANNELS - 1, -1)
    print(f"the projection keeps {values[kept].sum() / values.sum():.3f} of the variance", flush=True)
    scale = 1.0 / np.sqrt(values[kept].mean())
    tensors = {"mean": mean, "axes": axes[:, kept].T * scale}
    _save_atomically(target, {name: np.ascontiguousarray(t, np.float32) for name, t in tensors.items()})


def _save_atomically(target: Path, tensors: dict[str, np.ndarray]) -> None:
    beside = target.with_suffix(".partial")
    save_file(tensors, beside)
    beside.rename(target)


@torch.inference_mode()
def _encode(encoder: EfficientNetLite0, pixels: list[ByteArray]) -> Features:
    return encoder(encoder_input(pixels))  # type: ignore[no-any-return]


def _write_chunk(
    target: Path, sources: Sources, rows: list[Row], encoder: EfficientNetLite0, projection: Projection
) -> None:
    """The features of `rows`: `maps` (n, 49, 256), `pooled` (n, 1280), `logits` (n, 1000), `palettes` (n, 7, 7, 3)."""
    maps, pooled, logits, palettes = [], [], [], []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        pixels = [sources.pixels(row) for row in batch]
        features = _encode(encoder, pixels)
        maps.append(projection(features.grid).flatten(2).transpose(1, 2).half().numpy())
        pooled.append(features.pooled.half().numpy())
        logits.append(features.logits.half().numpy())
        palettes += [
            _palettes(p) if row.domain == PICTURE else _no_palettes() for row, p in zip(batch, pixels, strict=True)
        ]
    beside = target.with_suffix(".partial")
    with beside.open("wb") as file:
        np.savez(
            file,
            maps=np.concatenate(maps),
            pooled=np.concatenate(pooled),
            logits=np.concatenate(logits),
            palettes=np.stack(palettes),
        )
    beside.rename(target)


def _no_palettes() -> ByteArray:
    return np.zeros((MOST_COLOURS, MOST_COLOURS, 3), np.uint8)


def _palettes(pixels: ByteArray) -> ByteArray:
    """Palettes of 1 to 7 colours, padded with black: entry n - 1 has n colours (or fewer)."""
    found = _no_palettes()
    for colours in range(1, MOST_COLOURS + 1):
        palette = palette_of(pixels, colours)
        found[colours - 1] = palette[np.arange(MOST_COLOURS) % len(palette)]
    return found


if __name__ == "__main__":
    main()
