import torch

from anyseek.model.fourm.prediction import progress_of
from anyseek.model.generation.run import Pass
from anyseek.model.network.config import PUBLISHED_MODALITIES


def _passed(step: int, position: int) -> Pass:
    return Pass(step, "target", torch.tensor([[position]]), torch.zeros(1, 1, 2))


def test_images_go_by_steps_and_sequences_by_tokens() -> None:
    told: list[tuple[str, int, int]] = []
    rows = [PUBLISHED_MODALITIES[key] for key in ("tok_depth@224", "caption")]
    for row in rows:
        observe = progress_of(row.key, row, 8, lambda *one: told.append(one))
        observe(_passed(0, 5))
        observe(_passed(3, 6))
    assert told == [("tok_depth@224", 1, 8), ("tok_depth@224", 4, 8), ("caption", 6, 256), ("caption", 7, 256)]
