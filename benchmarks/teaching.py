"""Accuracy of taught classes by the number of examples, beside the encoder without training and names alone.

    python -m benchmarks.teaching [--measure PACKS] [--json]

`--measure` reads the pack photos of the folder PACKS, for some minutes, and writes docs/measurements/teaching.json. The
table of that file is printed. The towers never saw these sources. Of twenty photos of a class every other one may be
an example, and the others are judged; the means of several draws are given. Of `asked`, all but one of each class are
those that the collection suggests; the other examples are drawn at random.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.data.aligned import sample_evenly
from anyseek.model.data.sources.packs import PhotosOptions, PhotosSource
from anyseek.model.home import default_home
from anyseek.model.seam import FloatArray
from anyseek.search.spaces.base import centre
from anyseek.search.taught.learning import Kind, Rule, fit_classes, spread_out
from benchmarks.reporting import markdown_table, option_parser, read_result, write_result
from benchmarks.sources.sets import CAPTION
from benchmarks.sources.vectors import PHOTO, WHOLE, Vectorizer

NAME, MODEL = "teaching", "4m-tiny"
SOURCES = ("caltech101", "clothing-dataset", "grocery-store-dataset")
EXAMPLES = (1, 2, 5)  # of a class
SEEDS = 5
_PHOTOS, _CLASSES = 20, 60  # of a class, and the most of a source
_DOUBTFUL = 100  # of which those suggested differ
Labels = npt.NDArray[np.str_]
Places = npt.NDArray[np.int64]
Json = dict[str, Any]


def measure(packs: Path) -> Json:
    """The accuracies of each source, by the number of examples of a class."""
    source = PhotosSource("photos", PhotosOptions(path=packs / "photos", labelled=True))
    vectorizer = Vectorizer(default_home(), (MODEL,))
    return {"seeds": SEEDS, "rows": [row for name in SOURCES for row in _of_source(source, name, vectorizer)]}


def _of_source(source: PhotosSource, name: str, vectorizer: Vectorizer) -> Iterator[Json]:
    by_class: dict[str, list[str]] = {}
    for key in source.entries:
        if source.source_of(key) == name and (of := source.class_of(key)) is not None:
            by_class.setdefault(of, []).append(key)
    chosen = sample_evenly(sorted(of for of, own in by_class.items() if len(own) >= _PHOTOS), _CLASSES)
    keys = [key for of in chosen for key in sample_evenly(by_class[of], _PHOTOS)]
    labels = np.array([str(source.class_of(key)) for key in keys])
    encoded = vectorizer.encode(PHOTO, [source.picture(key) for key in keys])
    space = vectorizer.spaces[MODEL]
    rows = {
        "model": centre(encoded[MODEL], encoded[MODEL].mean(axis=0), space.blocks),
        "encoder": centre(encoded[WHOLE], encoded[WHOLE].mean(axis=0)),
    }
    names = sorted(set(labels))
    by_name = vectorizer.encode(CAPTION, [f"a photo of a {each}" for each in names])[MODEL]
    zero_shot = float((np.array(names)[(rows["model"] @ by_name.T).argmax(axis=1)] == labels).mean())
    for examples in EXAMPLES:
        said = {"source": name, "classes": len(names), "photos": len(keys), "examples": examples}
        yield {**said, "names": round(zero_shot, 3), **_accuracies(rows, labels, examples)}


def _accuracies(rows: dict[str, FloatArray], labels: Labels, examples: int) -> Json:
    """The mean accuracies over several draws."""
    found: dict[str, list[float]] = {"taught": [], "encoder": [], "asked": []}
    for seed in range(SEEDS):
        drawn = draw(labels, examples, seed)
        found["taught"].append(accuracy(rows["model"], labels, drawn))
        found["encoder"].append(prototype_accuracy(rows["encoder"], labels, drawn))
        found["asked"].append(
            accuracy(rows["model"], labels, ask(rows["model"], labels, draw(labels, 1, seed), len(drawn)))
        )
    return {name: round(float(np.mean(values)), 3) for name, values in found.items()}


def draw(labels: Labels, examples: int, seed: int) -> Places:
    """The places of some examples of each class, drawn at random from every other photo."""
    generator = np.random.default_rng(seed)
    return np.concatenate(
        [generator.choice(np.flatnonzero(labels == name)[::2], examples, replace=False) for name in np.unique(labels)]
    )


def judged(labels: Labels) -> Places:
    """The places of the photos that are never examples."""
    return np.concatenate([np.flatnonzero(labels == name)[1::2] for name in np.unique(labels)])


def ask(rows: FloatArray, labels: Labels, first: Places, most: int) -> Places:
    """The first examples, and those that are suggested ten at a time and then labelled."""
    known = list(first)
    while len(known) < most:
        outputs = _rule(rows, labels, np.array(known)).outputs(rows).max(axis=1)
        taken = {*known, *judged(labels).tolist()}
        order = [place for place in np.argsort(outputs) if place not in taken][:_DOUBTFUL]
        chosen = spread_out(rows[order], min(10, most - len(known)), rows[known])
        known += [order[place] for place in chosen]
    return np.array(known)


def accuracy(rows: FloatArray, labels: Labels, drawn: Places) -> float:
    """The share of judged photos that the taught rule gives their class."""
    rule, others = _rule(rows, labels, drawn), judged(labels)
    named = np.array(rule.labels)[rule.outputs(rows[others]).argmax(axis=1)]
    return float((named == labels[others]).mean())


def prototype_accuracy(rows: FloatArray, labels: Labels, drawn: Places) -> float:
    """The same by the nearest mean of a class's examples."""
    names, others = np.unique(labels), judged(labels)
    means = np.stack([rows[[place for place in drawn if labels[place] == name]].mean(axis=0) for name in names])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return float((names[(rows[others] @ means.T).argmax(axis=1)] == labels[others]).mean())


def _rule(rows: FloatArray, labels: Labels, drawn: Places) -> Rule:
    return fit_classes(Kind.CLASSES, labels[drawn].tolist(), rows[drawn], np.ones(len(drawn), bool)).rule


def table(result: Json) -> str:
    """A line for each source and number of examples, as docs/living.md has it."""
    header = ("source", "classes", "photos", "examples of a class", "names alone", "encoder", "taught", "suggested")
    return markdown_table(header, [_cells(row) for row in result["rows"]])


def _cells(row: Json) -> Sequence[object]:
    counts = (f"`{row['source']}`", row["classes"], row["photos"], row["examples"])
    return (*counts, *(f"{row[name]:.2f}" for name in ("names", "encoder", "taught", "asked")))


def main() -> None:
    parser = option_parser(NAME, __doc__)
    parser.add_argument("--measure", type=Path, metavar="PACKS", help="measure with the packs of this folder")
    options = parser.parse_args()
    if options.measure:
        write_result(NAME, "python -m benchmarks.teaching --measure PACKS", partial(measure, options.measure))
    result = read_result(NAME)
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
