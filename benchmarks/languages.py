"""Recall of captions in other languages among 1,000 photos of COCO, with and without the encoder of languages.

    python -m benchmarks.languages [--measure PACKS] [--cache FOLDER] [--json]

`--measure` reads the pack captions of the folder PACKS, for some minutes, and writes docs/measurements/languages.json.
The table of that file is printed. It needs `anyseek models pull languages`. The 60 captions, one of a photo of the test
split, and their translations are docs/measurements/caption-translations.tsv. COCO's captions are CC BY 4.0; they were
translated for this project by a language model, and were not checked by native speakers. `--cache` is as of
`benchmarks.sources`.
"""

import csv
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.packs import CaptionsSource, PackOptions, PackSource
from anyseek.model.encoders.languages import AnyLanguage, load_any_language
from anyseek.model.encoders.minilm import MiniLM, load_minilm
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.fourm.bundled.bundle import Bundle, load_bundle
from anyseek.model.home import default_home
from anyseek.model.seam import FloatArray
from anyseek.search.query.vectors import centre_queries
from benchmarks.reporting import MEASUREMENTS, markdown_table, option_parser, read_result, write_result
from benchmarks.sources.measuring import model_scores
from benchmarks.sources.sets import CAPTION, caption_set, gallery_of_captions
from benchmarks.sources.vectors import Vectorizer

NAME, SOURCE = "languages", "coco"
MODELS = ("4m-tiny", "4m-tiny-open")
TRANSLATIONS = MEASUREMENTS / "caption-translations.tsv"
ENGLISH = "en"
_FIRST = 10  # of R@10
Json = dict[str, Any]


def measure(packs: Path, cache: Path | None) -> Json:
    """The recall of each language, and how many English captions keep the vector of MiniLM."""
    source = CaptionsSource(SOURCE, PackOptions(path=packs / "captions", of=(SOURCE,)))
    photos = Vectorizer(default_home(), MODELS).sides(caption_set(source), cache)["photos"]
    ids = [source.entries[key].metadata["id"].rpartition("/")[2] for key in gallery_of_captions(source)]
    with TRANSLATIONS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    right = [ids.index(row.pop("photo")) for row in rows]
    texts = {language: [row[language] for row in rows] for language in rows[0]}
    everything = CaptionsSource("captions", PackOptions(path=packs / "captions"))
    english = [
        text
        for split in (Split.VAL, Split.TEST)
        for key in PackSource.keys(everything, split)
        for text in everything.entries[key].metadata["captions"]
    ]
    return {
        "captions": len(rows),
        "photos": len(ids),
        "models": {name: _of_model(load_bundle(name), texts, photos[name], right, english) for name in MODELS},
    }


@torch.inference_mode()
def _of_model(
    bundle: Bundle, texts: dict[str, list[str]], photos: FloatArray, right: Sequence[int], english: Sequence[str]
) -> Json:
    home = default_home()
    folder = check_encoders(home)
    minilm = load_minilm(folder / "minilm-l6.safetensors", folder / "minilm-l6.tokenizer.json")
    any_language = load_any_language(minilm, bundle.language_map, home)
    assert isinstance(any_language, AnyLanguage), "run `anyseek models pull languages`"
    recall = {
        name: {language: _recall(bundle, encoder, own, photos, right) for language, own in texts.items()}
        for name, encoder in (("without", minilm), ("with", any_language))
    }
    batches = [english[start : start + 64] for start in range(0, len(english), 64)]
    kept = sum(_kept(minilm, any_language, batch) for batch in batches)
    return {**recall, "english": len(english), "english_kept": kept}


def _recall(
    bundle: Bundle, encoder: MiniLM | AnyLanguage, texts: Sequence[str], photos: FloatArray, right: Sequence[int]
) -> float:
    """The share of texts whose photo is among the first ten."""
    assert bundle.towers_space is not None
    space = bundle.towers_space.space
    vectors = bundle.towers_space.towers.vectors({}, encoder(texts).pooled, False).numpy()
    scores = model_scores(centre_queries(space, [CAPTION], vectors), photos, space, CAPTION)
    own = scores[np.arange(len(right)), right]
    return round(float(((scores > own[:, None]).sum(axis=1) < _FIRST).mean()), 3)


def _kept(minilm: MiniLM, any_language: AnyLanguage, texts: Sequence[str]) -> int:
    return int((minilm(texts).pooled == any_language(texts).pooled).all(dim=1).sum())


def table(result: Json) -> str:
    """A line for each language, as docs/transfer.md has it."""
    languages = result["models"][MODELS[0]]["with"]
    header = ("language", *(f"{model}{said}" for model in MODELS for said in (", without", ", with")))
    return markdown_table(header, [(each, *_cells(result, each)) for each in languages])


def _cells(result: Json, language: str) -> list[str]:
    return [f"{result['models'][model][said][language]:.2f}" for model in MODELS for said in ("without", "with")]


def main() -> None:
    parser = option_parser(NAME, __doc__)
    parser.add_argument("--measure", type=Path, metavar="PACKS", help="measure with the packs of this folder")
    parser.add_argument("--cache", type=Path, help="a folder for vectors of photos")
    options = parser.parse_args()
    if options.measure:
        write_result(
            NAME, "python -m benchmarks.languages --measure PACKS", partial(measure, options.measure, options.cache)
        )
    result = read_result(NAME)
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
