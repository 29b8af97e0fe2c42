"""Weights as int8: how far a number moves, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anyseek.model.checkpoints.quantized import ROWS, SCALE, dequantize, quantize, share_rows
from anyseek.model.errors import WeightsCorrupt

_ROWS = st.integers(1, 6)
_NUMBERS = st.one_of([st.floats(-(2.0**most), 2.0**most, width=32) for most in (20, 0, -13, -30)])


def _large(rows: np.ndarray) -> torch.Tensor:
    """The rows many times over, so that the tensor is large enough to be quantized."""
    return torch.from_numpy(np.tile(rows, (4096 // rows.size + 1, 1)))


@given(arrays(np.float32, st.tuples(_ROWS, st.integers(1, 8)), elements=_NUMBERS))
def test_no_number_moves_by_more_than_half_the_scale_of_its_row(rows: np.ndarray) -> None:
    tensor = _large(rows)
    stored = quantize({"weight": tensor})
    scale = stored["weight" + SCALE].double()
    back = dequantize(stored)["weight"]
    assert stored["weight"].dtype == torch.int8
    assert stored["weight" + SCALE].dtype == torch.float16
    assert ((back.double() - tensor.double()).abs() <= scale[:, None] / 2 * (1 + 1e-6)).all()


def test_what_was_rounded_once_stays_as_it_is() -> None:
    tensor = torch.randn(3, 40, 64, generator=torch.Generator().manual_seed(0))
    once = dequantize(quantize({"weight": tensor}))
    twice = dequantize(quantize(once))
    assert once["weight"].shape == tensor.shape
    torch.testing.assert_close(once["weight"], twice["weight"], rtol=2e-3, atol=0)


def test_only_large_matrices_of_floats_are_quantized() -> None:
    tensors = {
        "small": torch.ones(63, 65),
        "bias": torch.ones(5000),
        "ids": torch.arange(5000).view(50, 100),
        "scalar": torch.tensor(0.5),
        "large": torch.zeros(64, 64, dtype=torch.bfloat16),
    }
    stored = quantize(tensors)
    assert {name: tensor.dtype for name, tensor in stored.items()} == {
        "small": torch.float16,
        "bias": torch.float16,
        "ids": torch.int64,
        "scalar": torch.float16,
        "large": torch.int8,
        "large" + SCALE: torch.float16,
    }
    restored = dequantize(stored)
    assert restored.keys() == tensors.keys()
    for name, tensor in restored.items():
        assert tensor.dtype == (torch.int64 if name == "ids" else torch.float32)
        torch.testing.assert_close(tensor, tensors[name], check_dtype=False)


def test_tensors_that_were_never_quantized_are_taken_as_they_are() -> None:
    tensors = {"weight": torch.ones(64, 64, dtype=torch.bfloat16), "odd:scale": torch.ones(3)}
    assert {name: tensor.dtype for name, tensor in dequantize(tensors).items()} == dict.fromkeys(tensors, torch.float32)


@pytest.mark.parametrize("wrong", [torch.inf, torch.nan, 1e9])
@pytest.mark.parametrize("shape", [(64, 64), (3,)])
def test_numbers_that_do_not_fit_are_refused(wrong: float, shape: tuple[int, ...]) -> None:
    tensor = torch.ones(shape)
    tensor[-1] = wrong
    with pytest.raises(WeightsCorrupt, match="the tensor head has numbers that are not finite or too large"):
        quantize({"head": tensor})


@pytest.mark.parametrize(
    ("rounded", "scale"),
    [
        (torch.zeros(4, 5, dtype=torch.int8), torch.ones(5)),
        (torch.zeros(4, 5), torch.ones(4)),
    ],
)
def test_a_scale_that_does_not_belong_to_its_tensor_is_refused(rounded: torch.Tensor, scale: torch.Tensor) -> None:
    with pytest.raises(WeightsCorrupt, match=r"the tensor weight is .* a scale has a number for each row of int8"):
        dequantize({"weight": rounded, "weight:scale": scale})


@given(st.sets(st.integers(0, 29), max_size=28))
def test_rows_that_are_told_apart_stay_and_the_others_become_their_mean(kept: set[int]) -> None:
    table = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor(sorted(kept), dtype=torch.int64)
    stored = share_rows({"table": table, "bias": torch.ones(3)}, {"table": rows})
    assert stored["table"].shape == (len(kept) + 1, 4)
    back = dequantize(stored)
    assert back.keys() == {"table", "bias"}
    others = [row for row in range(30) if row not in kept]
    assert torch.equal(back["table"][rows], table[rows])
    torch.testing.assert_close(back["table"][others], table[others].mean(dim=0).expand(len(others), 4))


def test_tables_without_a_row_to_spare_stay_as_they_are() -> None:
    tensors = {"table": torch.ones(5, 2), "long": torch.zeros(40_000, 1)}
    distinct_rows = {"table": torch.arange(5), "long": torch.arange(39_000), "nowhere": torch.arange(2)}
    assert share_rows(tensors, distinct_rows) == tensors


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
        dequantize({"table": torch.ones(3, 4), "table" + ROWS: rows})
