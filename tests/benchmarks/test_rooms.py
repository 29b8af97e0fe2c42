"""The tables of rooms: the best of the network's own spaces counts, and both models stand side by side."""

from typing import Any

from benchmarks.rooms import output_table, recall_table


def _row(query: str, space: str, recall: float, encoders: float | None = None) -> dict[str, Any]:
    alone = None if encoders is None else {"at_10": {"value": encoders}}
    return {"query": query, "space": space, "model": {"at_10": {"value": recall}}, "encoders": alone}


def test_the_best_of_the_networks_own_spaces_counts() -> None:
    spaces = {"photo_global": 0.9, "semantic_global": 0.2, "visual_global": 0.4, "colours": 0.1}
    rows = [_row("depth", space, recall, 0.3) for space, recall in spaces.items()]
    rows += [_row("caption", "photo_global", 0.5)]
    *_, depth, caption = recall_table({"rows": rows}).splitlines()
    assert depth == "| depth | 0.90 | 0.40 | 0.30 |"
    assert caption == "| caption | 0.50 | 0.00 | 0.00 |"


def test_the_outputs_of_both_models_stand_in_one_row() -> None:
    def row(value: float) -> dict[str, Any]:
        estimate = {"value": value, "low": value - 0.1, "high": value + 0.1}
        return {"modality": "depth", "measure": "abs_rel", "things": 300, "value": estimate}

    *_, last = output_table({"outputs": {"4m-tiny": [row(0.2)], "4m-tiny-open": [row(0.3)]}}).splitlines()
    values = "0.200 (0.100 to 0.300) | 0.300 (0.200 to 0.400)"
    assert last == f"| depth | `abs_rel` (lower is better) | 300 | {values} |"
