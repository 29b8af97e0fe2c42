"""Noise schedules and the timesteps that samplers visit."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.diffusion import TimestepSpacing, alphas_cumprod, timesteps

SCHEDULES = ["linear", "squaredcos_cap_v2", "shifted_cosine:0.5"]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("count", [50, 1000])
def test_the_image_fades_until_nothing_is_left(name: str, count: int) -> None:
    alphas = alphas_cumprod(name, count, zero_terminal_snr=True)
    assert alphas.shape == (count,)
    assert alphas.dtype == torch.float32
    assert alphas[0] > 0.99
    assert alphas[-1] == 0
    assert (alphas.diff() <= 0).all()


def test_the_end_is_not_quite_noise_unless_asked_for() -> None:
    alphas = alphas_cumprod("linear", zero_terminal_snr=False)
    assert 0 < alphas[-1] < 1e-4
    ended = alphas_cumprod("linear", zero_terminal_snr=True)
    torch.testing.assert_close(ended[0], alphas[0])


@pytest.mark.parametrize("name", ["scaled_linear", "shifted_cosine:", "shifted_cosine:-1", "shifted_cosine:nan", ""])
def test_other_schedules_are_refused(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="beta_schedule"):
        alphas_cumprod(name, zero_terminal_snr=True)


@given(st.integers(1, 1000), st.sampled_from(TimestepSpacing))
def test_timesteps_fall_within_their_range(count: int, spacing: TimestepSpacing) -> None:
    visited = timesteps(count, spacing)
    assert all(later < earlier for earlier, later in itertools.pairwise(visited))
    assert 0 <= visited[-1] <= visited[0] <= 999
    if spacing is not TimestepSpacing.TRAILING:
        assert len(visited) == count


def test_trailing_takes_one_more_step_where_the_stride_leaves_a_rest() -> None:
    visited = timesteps(30, TimestepSpacing.TRAILING)
    assert len(visited) == 31
    assert visited[0] == 999
    assert visited[-1] == 9


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_number_of_steps_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000 steps"):
        timesteps(count, TimestepSpacing.LEADING)
