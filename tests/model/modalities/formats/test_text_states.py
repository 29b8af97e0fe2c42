"""Hidden states of a text as an input."""

import numpy as np
import pytest

from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.formats.text_states import TextStates, mask_states

VECTORS = np.arange(12, dtype=np.float32).reshape(6, 2) + 1


def test_a_dropped_run_is_one_zero_vector() -> None:
    masked = mask_states(TextStates(VECTORS), [True, True, False, True, False, False])
    zero = np.zeros((1, 2), np.float32)
    np.testing.assert_array_equal(masked.vectors, np.concatenate([zero, VECTORS[2:3], zero, VECTORS[4:]]))
    np.testing.assert_array_equal(mask_states(TextStates(VECTORS), [False] * 6).vectors, VECTORS)


def test_too_many_states_are_refused() -> None:
    with pytest.raises(FormatInvalid, match="77"):
        TextStates(np.zeros((78, 2), np.float32))
