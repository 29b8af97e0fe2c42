"""Encode the training texts: `python -m model.training.prepare_texts --photos PHOTOS --home HOME --cache CACHE`.

Writes `texts.npz`: `states` float16 (all tokens, 384), `offsets` (texts + 1), `pooled` float32 (texts, 384), `classes`
float32 (1000, 384), and `texts.json`: the numbers of the texts of each subject. Run after or beside `prepare`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from model.data.emoji_art import fetch_concepts
from model.encoders.minilm import MiniLM, load_minilm
from model.hub import encoders_folder
from model.semantic import class_sentences
from model.training.captions import texts_of
from model.training.rows import load_sources, plan_rows

_BATCH = 64


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--cliparts", type=Path, default=Path("/usr/share/openclipart/png"))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    concepts = fetch_concepts(options.cache / "sources")
    sources, art = load_sources(options.photos, options.cliparts, options.cache / "sources")
    subjects = {r.subject: texts_of(r, concepts, sources.labels) for r in plan_rows(sources, art)}
    numbers = {text: n for n, text in enumerate(dict.fromkeys(t for texts in subjects.values() for t in texts))}
    folder = encoders_folder(options.home)
    encoder = load_minilm(folder / "minilm-l6.safetensors", folder / "minilm-l6.tokenizer.json")
    states, offsets, pooled = _encode(encoder, list(numbers))
    _, _, classes = _encode(encoder, class_sentences())
    options.cache.mkdir(parents=True, exist_ok=True)
    np.savez(options.cache / "texts.npz", states=states, offsets=offsets, pooled=pooled, classes=classes)
    table = {subject: [numbers[t] for t in texts] for subject, texts in subjects.items()}
    (options.cache / "texts.json").write_text(json.dumps(table))
    print(f"{len(numbers)} texts, {offsets[-1]} tokens")


@torch.inference_mode()
def _encode(encoder: MiniLM, texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States of all tokens in a row, offsets of the texts in them, sentence vectors; texts of like length together."""
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    states: dict[int, np.ndarray] = {}
    pooled = np.zeros((len(texts), 384), np.float32)
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        encoded = encoder([texts[n] for n in batch])
        for place, n in enumerate(batch):
            states[n] = encoded.states[place][~encoded.unused[place]].half().numpy()
            pooled[n] = encoded.pooled[place].numpy()
    offsets = np.cumsum([0, *(len(states[n]) for n in range(len(texts)))])
    return np.concatenate([states[n] for n in range(len(texts))]), offsets, pooled


if __name__ == "__main__":
    main()
