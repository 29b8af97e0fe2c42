"""Logits are recorded as a few columns and per-token statistics."""

from torch import Tensor

from tests.golden.cases import Arrays
from tests.golden.comparison import Comparison

HIDDEN_TOLERANCE = 1e-4
LOSS_TOLERANCE = 1e-3
FOURM_MARGIN = 1e-3


def compare_logits(result: Comparison, place: str, logits: Tensor, arrays: Arrays) -> None:
    """Compare logits (..., V) with the columns, best ids, margins and log-sum-exps recorded under `place`.

    Best ids are compared only where the best logit leads by enough.
    """
    best = logits.topk(2, dim=-1)
    margin = arrays[place + "margin"]
    columns = logits[..., arrays[place + "cols"]]
    result.close(place + "logits_at_cols", columns, arrays[place + "logits_at_cols"], HIDDEN_TOLERANCE)
    result.close(place + "logsumexp", logits.logsumexp(dim=-1), arrays[place + "logsumexp"], HIDDEN_TOLERANCE)
    result.close(place + "margin", best.values[..., 0] - best.values[..., 1], margin, HIDDEN_TOLERANCE)
    result.equal(place + "argmax", best.indices[..., 0], arrays[place + "argmax"], margin > FOURM_MARGIN)
