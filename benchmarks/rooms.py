"""Recall by kind of query and errors of outputs of the bundled models, on the rendered rooms that ship.

    python -m benchmarks.rooms [--measure] [--json]

`--measure` takes about ten minutes on two cores and writes docs/measurements/rooms.json, whose tables are printed. No
weights were trained on these 300 views or their furniture.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from anyseek.indexer.aligned import read_aligned
from anyseek.model.encoders.baselines import Encoders
from anyseek.model.galleries.photos import FOLDER
from anyseek.model.predict import predict
from anyseek.model.registry.loading import load_model
from anyseek.model.seam import Value
from anyseek.search.evaluation.matrix import recall_matrix
from anyseek.search.evaluation.outputs import LOWER_IS_BETTER, measure_outputs
from anyseek.search.settings import read_settings
from benchmarks.reporting import markdown_table, option_parser, read_result, write_result

NAME = "rooms"
MODELS = ("4m-tiny", "4m-tiny-open")
_TOWERS, _PICTURE = "photo_global", "rgb"
Json = Mapping[str, Any]


def main() -> None:
    parser = option_parser(NAME, __doc__)
    parser.add_argument("--measure", action="store_true", help="measure, and store the result")
    options = parser.parse_args()
    if options.measure:
        write_result(NAME, "python -m benchmarks.rooms --measure", measure)
    result = read_result(NAME)
    print(json.dumps(result) if options.json else f"{recall_table(result)}\n\n{output_table(result)}")


def measure() -> dict[str, Any]:
    """Rows of the default model's recall matrix with pictures as items, and the outputs of both models."""
    settings = read_settings()
    aligned = read_aligned(FOLDER, settings, None)
    models = {name: load_model(name, settings.home, settings.device) for name in MODELS}
    default = models[MODELS[0]]
    matrix = recall_matrix(default, aligned, tuple(default.spaces), Encoders(settings.home), _progress)
    outputs = {}
    for name, model in models.items():

        def predict_target(values: Mapping[str, Value], target: str, model: Any = model) -> Value:
            return predict(values, [target], model=model)[target].value

        outputs[name] = asdict(measure_outputs(aligned, frozenset(model.targets), predict_target, _progress))["rows"]
    rows = [asdict(row) for row in matrix.rows if row.gallery == _PICTURE and not row.contains_gallery]
    return {"things": len(aligned.keys), "rows": rows, "outputs": outputs}


def recall_table(result: Json) -> str:
    """R@10 in the towers' space, in the best of the network's own spaces, and of the encoders alone, in Markdown."""
    rows: dict[str, dict[str, float]] = {}
    for row in result["rows"]:
        columns = rows.setdefault(row["query"], {"towers": 0.0, "network": 0.0, "encoders": 0.0})
        column = "towers" if row["space"] == _TOWERS else "network"
        columns[column] = max(columns[column], row["model"]["at_10"]["value"])
        if row["encoders"] is not None:
            columns["encoders"] = row["encoders"]["at_10"]["value"]
    cells = [(query, *(f"{value:.2f}" for value in columns.values())) for query, columns in rows.items()]
    return markdown_table(("query", f"`{_TOWERS}`", "network", "encoders"), cells)


def output_table(result: Json) -> str:
    """The measures of predicted modalities for each model, with 95% intervals, in Markdown."""
    return markdown_table(("modality", "measure", "n", *MODELS), _output_cells(result["outputs"]))


def _output_cells(outputs: Mapping[str, Sequence[Json]]) -> Iterator[tuple[object, ...]]:
    for rows in zip(*(outputs[name] for name in MODELS), strict=True):
        first = rows[0]
        measure = f"`{first['measure']}`" + (" (lower is better)" if first["measure"] in LOWER_IS_BETTER else "")
        values = [row["value"] for row in rows]
        intervals = [f"{each['value']:.3f} ({each['low']:.3f} to {each['high']:.3f})" for each in values]
        yield (first["modality"], measure, first["things"], *intervals)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
