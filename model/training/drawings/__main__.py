"""Fit the network that reads drawings: writes drawings.safetensors, and keeps what it computed, to a folder.

    python -m anyseek.model.training.drawings PACKS --to DIR [--open] [--leave-out CLASS ...] [--set FOLDER ...]

Reads the packs sketches, photos and captions of the folder PACKS, and OpenMoji, which is fetched on first use. A killed
run goes on with its last epoch. `--open` learns from open data alone: the weights may then be passed on. `--set` puts
the file into sets of bundled weights.
"""

import argparse
import sys
from pathlib import Path

import torch

from anyseek.model.encoders.efficientnet import load_efficientnet
from anyseek.model.encoders.minilm import load_minilm
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.home import default_home
from anyseek.model.towers.drawings import FILE, save_drawings
from anyseek.model.training.drawings.fit import fit_head, fit_origin, fit_words, lessons, untrained_reader
from anyseek.model.training.drawings.material import compute_maps, read_examples
from anyseek.model.training.release import add_file

_EPOCHS, _RENDERINGS = 3, 2


def main() -> None:
    options = _parse_options()
    folder, home = options.to, default_home()
    encoders = check_encoders(home)
    image_weights = encoders / "efficientnet-lite0.safetensors"
    minilm = load_minilm(encoders / "minilm-l6.safetensors", encoders / "minilm-l6.tokenizer.json")
    folder.mkdir(parents=True, exist_ok=True)
    examples = read_examples(options.packs, home / "downloads", options.open)
    maps = compute_maps(examples, _RENDERINGS, image_weights, options.maps or folder, _say)
    learned = lessons(examples, maps, options.leave_out, lambda texts: minilm(texts).pooled)
    reader = untrained_reader(load_efficientnet(image_weights), learned)
    fit_head(reader, learned, torch.from_numpy(maps.pooled[learned.rows.numpy()]).float(), options.seed)
    fit_words(reader, learned, maps, options.epochs, folder / "state.pt", options.seed, _say)
    fit_origin(reader, examples, maps)
    save_drawings(folder / FILE, reader)
    for each in options.set:
        add_file(folder / FILE, each)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m anyseek.model.training.drawings", description=__doc__)
    parser.add_argument("packs", type=Path, metavar="PACKS")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR")
    parser.add_argument("--maps", type=Path, metavar="DIR", help="the folder of another fit to the same data")
    parser.add_argument("--open", action="store_true", help="learn from open data alone")
    parser.add_argument("--leave-out", nargs="+", default=(), metavar="CLASS", help="names not to learn, to measure")
    parser.add_argument("--set", type=Path, nargs="+", default=(), metavar="FOLDER", help="sets to put the file into")
    parser.add_argument("--epochs", type=int, default=_EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
