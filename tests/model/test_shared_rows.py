"""Tables with one row for all that are not told apart: what comes back, and what is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.errors import WeightsCorrupt
from model.quantized import dequantized, quantized
from model.shared_rows import ROWS, sharing_rows


@given(st.sets(st.integers(0, 29), max_size=28))
def test_rows_that_are_told_apart_stay_and_the_others_become_their_mean(kept: set[int]) -> None:
    table = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor(sorted(kept), dtype=torch.int64)
    stored = sharing_rows({"table": table, "bias": torch.ones(3)}, {"table": rows})
    assert stored["table"].shape == (len(kept) + 1, 4)
    back = dequantized(stored)
    assert back.keys() == {"table", "bias"}
    others = [row for row in range(30) if row not in kept]
    assert torch.equal(back["table"][rows], table[rows])
    torch.testing.assert_close(back["table"][others], table[others].mean(dim=0).expand(len(others), 4))


def test_rounding_does_not_mind_which_rows_are_there() -> None:
    table = torch.randn(400, 64, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(3, 100)
    shared = dequantized(quantized(sharing_rows({"table": table}, {"table": rows})))["table"]
    assert torch.equal(shared[rows], dequantized(quantized({"table": table}))["table"][rows])


def test_tables_without_a_row_to_spare_stay_as_they_are() -> None:
    tensors = {"table": torch.ones(5, 2), "long": torch.zeros(40_000, 1)}
    told_apart = {"table": torch.arange(5), "long": torch.arange(39_000), "nowhere": torch.arange(2)}
    assert sharing_rows(tensors, told_apart) == tensors


@pytest.mark.parametrize(
    "rows",
    [
        torch.tensor([0, 3], dtype=torch.int16),
        torch.tensor([0, -1], dtype=torch.int16),
        torch.tensor([0, 1]),
        torch.zeros(2, 2, dtype=torch.int16),
        torch.zeros(0, dtype=torch.int16),
    ],
)
def test_numbers_of_rows_that_there_are_not_are_refused(rows: torch.Tensor) -> None:
    with pytest.raises(WeightsCorrupt, match="the tensor table has 3 rows; table:rows must be int16 numbers of these"):
        dequantized({"table": torch.ones(3, 4), "table" + ROWS: rows})
