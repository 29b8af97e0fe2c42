"""Noise schedules, timesteps, and sampling with networks whose output is known."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.diffusion import (
    Diffusion,
    NoiseSource,
    Prediction,
    Sampling,
    Scheduler,
    TimestepSpacing,
    alphas_cumprod,
    ddim_step,
    ddpm_step,
    sample,
    seeded_noise,
    timesteps,
)

SCHEDULES = ["linear", "squaredcos_cap_v2", "shifted_cosine:0.5"]


@pytest.mark.parametrize("name", ["scaled_linear", "shifted_cosine:", "shifted_cosine:-1", "shifted_cosine:nan", ""])
def test_unknown_schedules_are_rejected(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="beta_schedule"):
        alphas_cumprod(name, zero_terminal_snr=True)


@given(st.integers(1, 1000), st.sampled_from(TimestepSpacing))
def test_timesteps_fall_within_their_range(count: int, spacing: TimestepSpacing) -> None:
    visited = timesteps(count, spacing)
    assert all(later < earlier for earlier, later in itertools.pairwise(visited))
    assert 0 <= visited[-1] <= visited[0] <= 999
    if spacing is not TimestepSpacing.TRAILING:
        assert len(visited) == count


def test_trailing_takes_one_more_step_if_the_stride_has_a_remainder() -> None:
    visited = timesteps(30, TimestepSpacing.TRAILING)
    assert len(visited) == 31
    assert visited[0] == 999
    assert visited[-1] == 9


ALPHAS = tuple(alphas_cumprod("linear", zero_terminal_snr=True).tolist())
CLEAN = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(3)) * 2 - 1
START = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(4))


def _diffusion(prediction: Prediction = Prediction.SAMPLE, *, clips: bool = True) -> Diffusion:
    return Diffusion(ALPHAS, prediction, clips)


def _velocity(image: Tensor, t: int) -> Tensor:
    """Exact `v_prediction` output for CLEAN with added noise."""
    return (math.sqrt(ALPHAS[t]) * image - CLEAN) / math.sqrt(1 - ALPHAS[t])


@pytest.mark.parametrize("scheduler", list(Scheduler))
@pytest.mark.parametrize("spacing", list(TimestepSpacing))
def test_a_network_that_knows_the_image_leads_to_it(scheduler: Scheduler, spacing: TimestepSpacing) -> None:
    sampling = Sampling(scheduler, 7, spacing)
    got = sample(lambda image, t: CLEAN, START, _diffusion(), sampling, seeded_noise(0))
    torch.testing.assert_close(got, CLEAN)
    got = sample(_velocity, START, _diffusion(Prediction.VELOCITY), sampling, seeded_noise(0))
    torch.testing.assert_close(got, CLEAN, atol=1e-3, rtol=0)


def test_images_are_clipped_where_the_diffusion_says_so() -> None:
    sampling = Sampling(Scheduler.DDIM, 3)
    for clips, largest in ((True, 1.0), (False, 5.0)):
        got = sample(
            lambda image, t: 5 * torch.ones_like(image), START, _diffusion(clips=clips), sampling, seeded_noise(0)
        )
        torch.testing.assert_close(got, torch.full_like(START, largest))


def test_progress_is_reported_after_every_step() -> None:
    told: list[tuple[int, int]] = []
    sampling = Sampling(Scheduler.DDIM, 3)
    sample(lambda image, t: CLEAN, START, _diffusion(), sampling, seeded_noise(0), lambda *step: told.append(step))
    # 333 does not divide 1000: trailing takes one step more
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def _counting(draws: list[tuple[int, ...]]) -> NoiseSource:
    source = seeded_noise(0)

    def draw(shape: tuple[int, ...]) -> Tensor:
        draws.append(shape)
        return source(shape)

    return draw


def test_only_ddpm_draws_and_not_for_its_last_step() -> None:
    for scheduler, expected in ((Scheduler.DDPM, 4), (Scheduler.DDIM, 0)):
        draws: list[tuple[int, ...]] = []
        sample(lambda image, t: image / 2, START, _diffusion(), Sampling(scheduler, 5), _counting(draws))
        assert draws == [(2, 3, 4, 4)] * expected


def test_ddpm_draws_from_the_posterior() -> None:
    """Stepping from x_t must give x_p as if it were made from the clean image: same mean and variance."""
    alpha, after = 0.3, 0.8
    count = 200_000
    generator = torch.Generator().manual_seed(0)
    clean = torch.full((count,), 0.7)
    noisy = math.sqrt(alpha) * clean + math.sqrt(1 - alpha) * torch.randn(count, generator=generator)
    stepped = ddpm_step(noisy, clean, alpha, after, torch.randn(count, generator=generator))
    assert abs(stepped.mean() - math.sqrt(after) * 0.7) < 5e-3
    assert abs(stepped.var() - (1 - after)) < 5e-3


def test_ddim_keeps_the_estimated_noise() -> None:
    noise = torch.randn(5)
    noisy = math.sqrt(0.3) * CLEAN[0, 0, 0, 0] + math.sqrt(0.7) * noise
    stepped = ddim_step(noisy, CLEAN[0, 0, 0, 0], CLEAN[0, 0, 0, 0], 0.3, 0.8)
    torch.testing.assert_close(stepped, math.sqrt(0.8) * CLEAN[0, 0, 0, 0] + math.sqrt(0.2) * noise)


def test_too_many_steps_are_rejected() -> None:
    with pytest.raises(ValueError, match="1 to 1000 steps, not 2000"):
        sample(lambda image, t: image, START, _diffusion(), Sampling(Scheduler.DDPM, 2000), seeded_noise(0))
