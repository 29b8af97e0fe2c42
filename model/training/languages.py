"""Fit the map from multilingual-e5-small's vectors to MiniLM's: writes languages.safetensors to a folder.

    python -m anyseek.model.training.languages PACKS CLDR --to DIR [--open] [--set FOLDER ...]

Reads the training captions of the pack `captions` in the folder PACKS, and names of emoji in 31 languages from CLDR,
the unpacked npm package cldr-annotations-modern 45.0.0. Vectors take about an hour on one core, and are kept in DIR,
so that a killed run goes on; the fit takes two minutes. `--open` learns from open data alone. `--set` puts the file
into sets of bundled weights.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.packs import CaptionsSource, PackOptions
from anyseek.model.encoders.languages import FILE, LanguageMap, save_language_map
from anyseek.model.encoders.minilm import load_minilm
from anyseek.model.encoders.multilingual import load_multilingual
from anyseek.model.encoders.pull import LANGUAGES, check_encoders
from anyseek.model.home import default_home
from anyseek.model.training.release import add_file

ENGLISH = "en"
OTHERS = (
    *("ar", "bn", "cs", "da", "de", "el", "es", "fa", "fi", "fr", "he", "hi", "hu", "id", "it"),
    *("ja", "ko", "nl", "pl", "pt", "ro", "ru", "sv", "ta", "th", "tr", "uk", "ur", "vi", "zh"),
)
_CHUNK = 1_024  # texts whose vectors are kept together
_RIDGE = 30.0
_EPOCHS, _BATCH, _RATE, _DECAY = 8, 512, 2e-3, 1e-2
_CONTRAST, _SHARPNESS = 0.1, 20.0  # the weight of telling the texts of a batch apart, and the inverse temperature
_SAME = 0.999  # cosine of equal texts
Encode = Callable[[Sequence[str]], Tensor]


def main() -> None:
    options = _parse_options()
    languages, home = check_encoders(default_home(), LANGUAGES), default_home()
    encoders = check_encoders(home)
    minilm = load_minilm(encoders / "minilm-l6.safetensors", encoders / "minilm-l6.tokenizer.json")
    multilingual = load_multilingual(*(languages / source.target for source in LANGUAGES.sources))
    options.to.mkdir(parents=True, exist_ok=True)
    captions = read_captions(options.packs, "open" if options.open else "all")
    names, others = read_names(options.cldr)
    english = [*captions, *names]
    read = kept_vectors(english, options.to / "english", lambda texts: minilm(texts).pooled)
    known = kept_vectors(english, options.to / "known", multilingual)
    foreign = kept_vectors([name for name, _ in others], options.to / "foreign", multilingual)
    rows = {name: row for row, name in enumerate(english)}
    targets = read[[rows[name] for _, name in others]]
    language_map = fit(torch.cat([known, foreign]), torch.cat([read, targets]))
    save_language_map(options.to / FILE, language_map)
    for folder in options.set:
        add_file(options.to / FILE, folder)


def read_captions(packs: Path, classes: Literal["all", "open"]) -> list[str]:
    """The captions of training photos, of all or of open licence classes."""
    source = CaptionsSource("captions", PackOptions(path=packs / "captions", classes=classes))
    return [text for key in source.keys(Split.TRAIN) for text in source.entries[key].metadata["captions"]]


def read_names(cldr: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """The English names of emoji, and those of other languages, each with the English one."""
    english = _names(cldr, ENGLISH)
    pairs = [
        (name, english[emoji])
        for language in OTHERS
        for emoji, name in _names(cldr, language).items()
        if emoji in english
    ]
    return sorted(set(english.values())), pairs


def _names(cldr: Path, language: str) -> dict[str, str]:
    file = cldr / "annotations" / language / "annotations.json"
    entries = json.loads(file.read_text(encoding="utf-8"))["annotations"]["annotations"]
    return {emoji: entry["tts"][0] for emoji, entry in entries.items() if "tts" in entry and emoji > "\u2000"}


@torch.inference_mode()
def kept_vectors(texts: Sequence[str], folder: Path, encode: Encode) -> Tensor:
    """Vectors (n, 384) of n texts, those of finished chunks from the folder."""
    folder.mkdir(exist_ok=True)
    rows = []
    for start in range(0, len(texts), _CHUNK):
        path, chunk = folder / f"{start:07}.npy", texts[start : start + _CHUNK]
        if not path.is_file():
            vectors = torch.cat([encode(chunk[place : place + 32]) for place in range(0, len(chunk), 32)])
            np.save(path.with_suffix(".part.npy"), vectors.numpy())
            path.with_suffix(".part.npy").rename(path)
        rows.append(torch.from_numpy(np.load(path)))
    return torch.cat(rows)


def fit(known: Tensor, targets: Tensor, epochs: int = _EPOCHS) -> LanguageMap:
    """The map of vectors (n, 384) to those of MiniLM (n, 384): a ridge regression, then refined by both losses."""
    torch.manual_seed(0)
    language_map = LanguageMap()
    _set_ridge(language_map, known, targets)
    steps = epochs * (len(known) // _BATCH)
    optimizer = torch.optim.AdamW(language_map.parameters(), weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(known))[: len(known) // _BATCH * _BATCH], _BATCH):
            loss = _loss(language_map(known[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return language_map.eval().requires_grad_(False)


def _set_ridge(language_map: LanguageMap, known: Tensor, targets: Tensor) -> None:
    """Begin with the ridge regression alone."""
    mean, bias = known.mean(dim=0), targets.mean(dim=0)
    x = known - mean
    weight = torch.linalg.solve(x.T @ x + _RIDGE * torch.eye(x.shape[1]), x.T @ (targets - bias))
    language_map.get_buffer("mean").copy_(mean)
    with torch.no_grad():
        language_map.linear.weight.copy_(weight.T)
        language_map.linear.bias.copy_(bias)
        language_map.narrow.weight.zero_()
        language_map.narrow.bias.zero_()


def _loss(vectors: Tensor, targets: Tensor) -> Tensor:
    """One minus the cosine, and the cross-entropy of finding a text's target among those of the batch."""
    cosines = vectors @ targets.T
    equal = (targets @ targets.T > _SAME) & ~torch.eye(len(targets), dtype=torch.bool)
    logits = (_SHARPNESS * cosines).masked_fill(equal, -1e4)
    return (1 - cosines.diagonal()).mean() + _CONTRAST * F.cross_entropy(logits, torch.arange(len(targets)))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m anyseek.model.training.languages", description=__doc__)
    parser.add_argument("packs", type=Path, metavar="PACKS")
    parser.add_argument("cldr", type=Path, metavar="CLDR")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR")
    parser.add_argument("--open", action="store_true", help="learn from open data alone")
    parser.add_argument(
        "--set", type=Path, nargs="+", default=(), metavar="FOLDER", help="weights to put the file into"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
