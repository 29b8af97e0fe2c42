"""Probabilities of hits beside the share that is right, on sources that the curves were not fitted to.

    python -m benchmarks.relevance [--measure PACKS] [--model 4m-tiny] [--cache FOLDER] [--write] [--json]

`--measure` reads the packs photos, sketches, segmentation, depth and captions of the folder PACKS, for about a quarter
of an hour on two cores, leaves out each source in turn, and writes docs/measurements/relevance.json. With `--write` it
also fits the curves to all sources and stores them with the weights of the model. The tables of the file are printed.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.model.files import file_digest
from anyseek.model.fourm.bundled.bundle import MANIFEST, WEIGHTS
from anyseek.model.home import default_home
from anyseek.model.registry.loading import load_model
from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.model.towers.relevance import FILE, save_relevance
from anyseek.search.confidence.relevance import NAME, PICTURE
from anyseek.search.confidence.score_samples import score_moments
from anyseek.search.query.vectors import centre_queries
from anyseek.search.spaces.base import centre
from benchmarks.relevance.galleries import (
    LabelledSource,
    Vectorizer,
    Vectors,
    drawings,
    judged_captions,
    labelled_sources,
    names_as_queries,
)
from benchmarks.relevance.measuring import (
    Judged,
    auroc,
    fit_curve,
    hub_quality,
    joined,
    judged_names,
    judged_queries,
    report,
    typical,
)
from benchmarks.reporting import MEASUREMENTS, markdown_table, option_parser, read_result, write_result

JUDGEMENTS = MEASUREMENTS / "caption-judgements.json"
SEEDS = (0, 1, 2)
MIN_HITS = 200  # of a decile, or above a value, that is reported
MIN_AUROC = 0.75  # of a kind of query, with each seed; below it hits have an order and no probability
DRAWING = "canny_edge"
Json = dict[str, Any]


class Measured:
    """The sources of the packs with a model's vectors, and the names of all their classes as centred queries."""

    def __init__(self, data: Path, vectorizer: Vectorizer) -> None:
        self._space, self.sources = vectorizer.space, list(labelled_sources(data, vectorizer))
        self.names = sorted({name for source in self.sources for name in source.names})
        self.queries = centre_queries(self._space, [NAME], names_as_queries(self.names, vectorizer))
        self.drawings = dict(drawings(data, vectorizer))
        self.captions = list(judged_captions(data, JUDGEMENTS, vectorizer))

    def typical_queries(self, without: LabelledSource | None = None, undrawn: str = "") -> dict[str, FloatArray]:
        """Names but those of a source, and drawings but those of a source."""
        left_out = frozenset() if without is None else frozenset(without.names)
        drawn = [each.rows for name, each in self.drawings.items() if name != undrawn]
        return {
            NAME: typical(self.queries, [name in left_out for name in self.names]),
            DRAWING: typical(self._looks(centre_queries(self._space, [DRAWING], np.concatenate(drawn)))),
        }

    def _looks(self, queries: FloatArray) -> FloatArray:
        """Unit rows of drawings without their words: with them, edges of photos, which have none, find less."""
        looks = queries.copy()
        looks[:, sum(self._space.blocks[:2]) :] = 0
        return looks / np.linalg.norm(looks, axis=1, keepdims=True)

    def space(self, without: LabelledSource | None = None, undrawn: str = "") -> EmbeddingSpace:
        """The space as it would be without a source."""
        return replace(self._space, typical_queries=self.typical_queries(without, undrawn))

    def by_names(self, seed: int) -> list[Judged]:
        """The hits of names in each source, beside typical names of the others alone: users' words are new, too."""
        return [judged_names(self.space(source), source, self.names, self.queries, seed) for source in self.sources]

    def by_pictures(self, seed: int) -> list[Judged]:
        """The hits of pictures in each source with classes."""
        asking = [(source, source.pictures) for source in self.sources if source.pictures is not None]
        return [judged_queries(self.space(), source, pictures, PICTURE, seed) for source, pictures in asking]

    def by_drawings(self, seed: int) -> list[Judged]:
        """The hits of both sources of drawings in the photos of Sketchy, named by the drawings' source."""
        gallery = next(source for source in self.sources if source.name == "sketchy")
        named = [LabelledSource(name, gallery.gallery, None) for name in self.drawings]
        return [
            judged_queries(self.space(undrawn=each.name), each, self.drawings[each.name], DRAWING, seed)
            for each in named
        ]


def measure(measured: Measured) -> Json:
    """The report of each kind of query, each source judged by a curve that was fitted to the others."""
    spaces = {source.name: measured.space(source) for source in measured.sources}
    return {
        "names": [_left_out_of(measured.by_names(seed)) for seed in SEEDS],
        "pictures": [_left_out_of(measured.by_pictures(seed)) for seed in SEEDS],
        "drawings": [_left_out_of(measured.by_drawings(seed)) for seed in SEEDS],
        "sentences": _sentences(measured),
        "hubs": _hubs(measured, spaces),
    }


def _left_out_of(judged: list[Judged]) -> Json:
    return _report([_split(judged, str(each.sources[0])) for each in judged])


def _split(judged: list[Judged], name: str) -> tuple[Judged, Judged]:
    """The hits of all other sources, and of the source with the name."""
    own = [each for each in judged if each.sources[0] == name]
    return joined([each for each in judged if each.sources[0] != name]), joined(own)


def _report(parts: list[tuple[Judged, Judged]]) -> Json:
    curves = [fit_curve(others) for others, _ in parts]
    stated = np.concatenate([own.probabilities(curve) for curve, (_, own) in zip(curves, parts, strict=True)])
    thresholds = np.concatenate(
        [np.full(len(own.right), curve.nothing_good) for curve, (_, own) in zip(curves, parts, strict=True)]
    )
    return report(stated, thresholds, joined([own for _, own in parts]))


def _hubs(measured: Measured, spaces: Mapping[str, EmbeddingSpace]) -> Json:
    """The quality of answers with and without hubs in each source, with typical queries of the others."""
    names = Vectors(measured.queries, [frozenset({name}) for name in measured.names])
    found = {source.name: hub_quality(spaces[source.name], NAME, source.gallery, names) for source in measured.sources}
    gallery = next(source.gallery for source in measured.sources if source.name == "sketchy")
    for name, drawn in measured.drawings.items():
        space = measured.space(undrawn=name)
        asking = Vectors(centre_queries(space, [DRAWING], drawn.rows), drawn.labels)
        found[f"{name} drawings"] = hub_quality(space, DRAWING, gallery, asking)
    return found


def _sentences(measured: Measured) -> Json:
    """The AUROC of the first feature of names for captions, whose hits were judged by eye."""
    space, values, right = measured.space(), [], []
    for query, items, grades in measured.captions:
        rows, vector = centre(items, space.gallery_prior, space.blocks), centre_queries(space, [NAME], query)[0]
        means, deviations = score_moments(rows, space.typical_queries[NAME])
        values += ((rows @ vector - means) / deviations).tolist()
        right += grades
    quality = round(auroc(np.array(values), np.array(right)), 3)
    return {"queries": len(measured.captions), "hits": len(right), "auroc": quality}


def write(measured: Measured, kinds: Json, model: str) -> None:
    """Store the curves, fitted to all sources, with the weights of the model: of kinds whose hits can be told apart."""
    every = {NAME: ("names", measured.by_names), PICTURE: ("pictures", measured.by_pictures)}
    curves = {
        modality: fit_curve(joined([each for seed in SEEDS for each in judge(seed)]))
        for modality, (kind, judge) in every.items()
        if min(report["auroc"] for report in kinds[kind]) >= MIN_AUROC
    }
    folder = WEIGHTS / model
    save_relevance(folder / FILE, measured.typical_queries(), curves)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"][FILE] = file_digest(folder / FILE)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def table(result: Json) -> str:
    """A line for each kind of query, as docs/querying.md has it; the values are the range of the seeds."""
    header = ("query", "hits", "AUROC", "right of those stated at least 0.8", "at least 0.5", "farthest decile")
    header = (*header, "nothing good: above a right hit", "of absent things")
    return markdown_table(header, [_cells(kind, result["kinds"][kind]) for kind in ("names", "pictures", "drawings")])


def _cells(kind: str, seeds: list[Json]) -> list[object]:
    far = [
        max(abs(each["stated"] - each["right"]) for each in seed["deciles"] if each["hits"] >= MIN_HITS)
        for seed in seeds
    ]
    absent = [seed["nothing_good_absent"] for seed in seeds]
    return [
        kind,
        f"{seeds[0]['hits']:,}",
        _range([seed["auroc"] for seed in seeds]),
        *(_stated(seeds, least) for least in ("stated_0.8", "stated_0.5")),
        _range(far),
        _range([seed["nothing_good_wrongly"] for seed in seeds]),
        "" if None in absent else _range(absent),
    ]


def _stated(seeds: list[Json], least: str) -> str:
    """The share that is right, and how many hits there are; nothing where one seed has too few."""
    hits = [seed[least]["hits"] for seed in seeds]
    return f"{_range([seed[least]['right'] for seed in seeds])} of {min(hits)}" if min(hits) >= MIN_HITS else ""


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def main() -> None:
    options = _parse_options()
    name = "relevance" if options.model == "4m-tiny" else f"relevance-{options.model}"
    if options.measure:
        measured = Measured(options.measure, Vectorizer(load_model(options.model, default_home()), options.cache))
        print(f"{len(measured.names)} names, {len(measured.sources)} sources", file=sys.stderr, flush=True)
        command = f"python -m benchmarks.relevance --measure PACKS --model {options.model}"
        write_result(name, command, lambda: {"seeds": SEEDS, "kinds": measure(measured)})
        if options.write:
            write(measured, read_result(name)["kinds"], options.model)
    result = read_result(name)
    print(json.dumps(result) if options.json else table(result))


def _parse_options() -> argparse.Namespace:
    parser = option_parser("relevance", __doc__)
    parser.add_argument("--measure", type=Path, metavar="PACKS", help="measure with the packs of this folder")
    parser.add_argument("--model", default="4m-tiny", help="a bundled model")
    parser.add_argument("--cache", type=Path, help="a folder for vectors, so that a killed run goes on")
    parser.add_argument("--write", action="store_true", help="store the curves with the weights of the model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
