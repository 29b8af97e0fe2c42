"""Asking for the instances at many places of a picture at once, in one batch with a row for each place."""

from collections.abc import Mapping, Sequence

from model.formats.sam_instances import QueryPoint, instances_from_text, instances_to_text, query_grid
from model.formats.spans import SpecialIds
from model.generation.generate import generate
from model.generation.run import Observer, Options
from model.generation.schedule import Step
from model.generation.state import ModalityState, given_sequence, text_target
from model.published.model import PublishedModel

MOST_ROWS = 64  # of one batch
_LONGEST_ANSWER = 3 * 21 + 1  # tokens: three masks, which is what an ambiguous point has, and what ends them


def ask_everywhere(
    model: PublishedModel,
    state: Mapping[str, ModalityState],
    key: str,
    steps: Sequence[Step],
    options: Options,
    side: int,
    observe: Observer | None,
) -> ModalityState:
    """The points of a grid of side x side and the masks that contain them, as one sequence, whatever its length.

    Everything in `state` has one row.
    """
    ids, points = SpecialIds.of(model.text), query_grid(side)
    answers: list[QueryPoint] = []
    for start in range(0, len(points), MOST_ROWS):
        rows = [model.text.encode(f"point v0={y} v1={x} [S_1]") for y, x in points[start : start + MOST_ROWS]]
        batch = {name: _repeated(entry, len(rows)) for name, entry in state.items()}
        batch[key] = text_target(rows, _LONGEST_ANSWER, ids)
        done = generate(model.network, batch, steps, ids, options, observe)[key]
        # the first point is the one that was asked about; the network may go on to others
        answers += [instances_from_text(model.text.decode(row))[0] for row in done.input_rows()]
    return given_sequence([model.text.encode(instances_to_text(answers))], ids).to(done.values.device)


def _repeated(entry: ModalityState, count: int) -> ModalityState:
    """One row `count` times."""
    tensors = (entry.values, entry.input_mask, entry.target_mask)
    return ModalityState(*(tensor.expand(count, *tensor.shape[1:]) for tensor in tensors))
