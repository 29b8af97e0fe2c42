"""Recall of queries among photos of one source, beside the encoders without training.

    python -m benchmarks.sources [--measure PACKS] [--cache FOLDER] [--json]

`--measure` reads the packs captions, sketches, depth, segmentation and photos of the folder PACKS, for about a quarter
of an hour on two cores, and writes docs/measurements/sources.json. The tables of that file are printed. `--cache` keeps
vectors in a folder, so that a killed run goes on; empty it when the code or the weights change.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from anyseek.model.encoders.efficientnet import class_sentences
from anyseek.model.home import default_home
from benchmarks.reporting import markdown_table, option_parser, read_result, write_result
from benchmarks.sources.measuring import RESAMPLES, SEED, choose_constants, size_rows, source_row
from benchmarks.sources.sets import CAPTION, source_sets
from benchmarks.sources.vectors import TEXT, Vectorizer

NAME = "sources"
MODELS = ("4m-tiny", "4m-tiny-open")
WORST_GAIN = -0.01  # the rule: no lower bound of a gain may be below it
Json = Mapping[str, Any]


def main() -> None:
    options = _parse_options()
    if options.measure:
        command = "python -m benchmarks.sources --measure PACKS"
        write_result(NAME, command, partial(measure, options.measure, options.cache))
    result = read_result(NAME)
    print(json.dumps(result) if options.json else f"{source_table(result)}\n\n{size_table(result)}")


def measure(packs: Path, cache: Path | None) -> dict[str, Any]:
    """The rows of all sets, and how they were made."""
    vectorizer, sets = Vectorizer(default_home(), MODELS), []
    for of in source_sets(packs):
        print(f"{of.name}: {len(of.photos)} photos, {len(of.test)} queries", file=sys.stderr, flush=True)
        sets.append((of, vectorizer.sides(of, cache)))
    classes, spaces = vectorizer.encode(CAPTION, class_sentences())[TEXT], vectorizer.spaces
    constants = choose_constants(sets, classes)
    return {
        "fingerprints": {name: space.fingerprint for name, space in spaces.items()},
        "intervals": {"resamples": RESAMPLES, "seed": SEED},
        "untrained": {modality: [asdict(each) for each in several] for modality, several in constants.items()},
        "rows": [source_row(of, sides, spaces, constants[of.modality], classes) for of, sides in sets],
        "sizes": [row for of, sides in sets[:1] for row in size_rows(of, sides, spaces)],
    }


def source_table(result: Json) -> str:
    """The rows in Markdown; the gain is that of the default model."""
    default, *others = MODELS
    numbers = ("untrained", "with a mean of queries", default, "gain (95%)", *others)
    return markdown_table(("source", "query", "n", "photos", *numbers), [_cells(row) for row in result["rows"]])


def _cells(row: Json) -> list[object]:
    default, *others = (row["models"][name] for name in MODELS)
    gain = default["gain"]
    kind = row["query"] + (", mAP" if row["measure"] == "mAP" else "")
    counts = [f"{row['queries']:,}", f"{row['photos']:,}"]
    if row["units"] < row["queries"]:  # several queries of a photo or class
        counts[0] += f" of {row['units']:,}"
    untrained = [f"{each['value']:.3f}" for each in row["untrained"].values()]
    values = [f"{each['value']['value']:.3f}" for each in (default, *others)]
    interval = f"{gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
    mark = "" if gain["low"] >= WORST_GAIN else " \\*"
    return [f"`{row['source']}`", kind, *counts, *untrained, values[0], interval + mark, *values[1:]]


def size_table(result: Json) -> str:
    """Recall by the size of a gallery of one source, in Markdown."""
    header = ("photos", "galleries", *MODELS)
    return markdown_table(
        header,
        [
            (f"{row['photos']:,}", row["galleries"], *(_interval(row["models"][name]) for name in MODELS))
            for row in result["sizes"]
        ],
    )


def _interval(estimate: Json) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _parse_options() -> argparse.Namespace:
    parser = option_parser("sources", __doc__)
    parser.add_argument("--measure", type=Path, metavar="PACKS", help="measure with the packs of this folder")
    parser.add_argument("--cache", type=Path, help="a folder for vectors, so that a killed run goes on")
    return parser.parse_args()


if __name__ == "__main__":
    main()
