"""Diffusion: noise schedules, and DDPM and DDIM samplers.

There are T training timesteps, from 0 (almost clean) to T-1 (noise). The noisy image is x_t = sqrt(a_t) x_0 + sqrt(1 -
a_t) e, where a_t is `alphas_cumprod[t]` (Ho et al., arXiv 2006.11239, eq. 4). A sampler goes from noise to image by
DDPM (random) or DDIM (deterministic); r is the stride, p = t - r the timestep after t, and a_p = 1 where p is negative.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from anyseek.model.network.config import ConfigInvalid

_BETA_FIRST, _BETA_LAST = 1e-4, 0.02
_MAX_BETA = 0.999
_MAX_LOG_SNR = 15.0
_SHIFTED_PREFIX = "shifted_cosine:"


class TimestepSpacing(StrEnum):
    """Which of the T timesteps a sampler visits; the stride r is T div the number of steps."""

    TRAILING = "trailing"  # T-1, T-1-r, … while not negative: one more step if r does not divide T
    LEADING = "leading"  # (count-1) r, …, r, 0
    LINSPACE = "linspace"  # from T-1 to 0, evenly spaced and rounded


def timesteps(count: int, spacing: TimestepSpacing, train_timesteps: int = 1000) -> list[int]:
    """The timesteps to visit, from noise to image. Raises ValueError unless 1 <= count <= train_timesteps."""
    stride = timestep_stride(count, train_timesteps)
    if spacing is TimestepSpacing.TRAILING:
        return list(range(train_timesteps - 1, -1, -stride))
    if spacing is TimestepSpacing.LEADING:
        return list(range((count - 1) * stride, -1, -stride))
    # float64, because a float32 linspace rounds some halves differently
    return [int(t) for t in (torch.linspace(train_timesteps, 1, count, dtype=torch.float64).round() - 1).tolist()]


def timestep_stride(count: int, train_timesteps: int) -> int:
    """Timesteps per sampling step, for any spacing. Raises ValueError unless 1 <= count <= train_timesteps."""
    if not 1 <= count <= train_timesteps:
        raise ValueError(f"a diffusion of {train_timesteps} timesteps takes 1 to {train_timesteps} steps, not {count}")
    return train_timesteps // count


def alphas_cumprod(beta_schedule: str, train_timesteps: int = 1000, *, zero_terminal_snr: bool) -> Tensor:
    """Cumulative alphas a_t, the signal's share of the variance: float32 (T,), decreasing, optionally to 0.

    Schedules are `linear` (1e-4 to 0.02), `squaredcos_cap_v2` (Nichol and Dhariwal, arXiv 2102.09672) and
    `shifted_cosine:<shift>` (Hoogeboom et al., arXiv 2301.11093), which always ends in 0. Raises `ConfigInvalid`.
    """
    if beta_schedule.startswith(_SHIFTED_PREFIX):
        text = beta_schedule.removeprefix(_SHIFTED_PREFIX)
        try:
            shift = float(text)
        except ValueError:
            shift = math.nan
        if not (math.isfinite(shift) and shift > 0):
            raise ConfigInvalid(
                f"beta_schedule {beta_schedule!r} must end in a positive number, such as {_SHIFTED_PREFIX}0.5"
            )
        t = torch.linspace(0, 1, train_timesteps)
        log_snr = -2 * ((math.pi * t / 2).tan().log() + math.log(shift))
        alphas = log_snr.clamp(-_MAX_LOG_SNR, _MAX_LOG_SNR).sigmoid()
        alphas[-1] = 0
        return alphas
    if beta_schedule == "linear":
        betas = torch.linspace(_BETA_FIRST, _BETA_LAST, train_timesteps)
    elif beta_schedule == "squaredcos_cap_v2":
        betas = _squared_cosine_betas(train_timesteps)
    else:
        known = "linear, squaredcos_cap_v2 and shifted_cosine:<shift>"
        raise ConfigInvalid(f"beta_schedule {beta_schedule!r} is unknown; the schedules are {known}")
    alphas = (1 - betas).cumprod(dim=0)
    if not zero_terminal_snr:
        return alphas
    # Shift and scale sqrt(a) so that the first is unchanged and the last is 0 (Lin et al., arXiv 2305.08891, alg. 1).
    first, last = alphas[0].sqrt(), alphas[-1].sqrt()
    return ((alphas.sqrt() - last) * (first / (first - last))).square()


def _squared_cosine_betas(train_timesteps: int) -> Tensor:
    def alpha(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    ratios = [alpha((i + 1) / train_timesteps) / alpha(i / train_timesteps) for i in range(train_timesteps)]
    return torch.tensor([min(1 - ratio, _MAX_BETA) for ratio in ratios])


# Returns the next standard normal float32 numbers, in the given shape.
NoiseSource = Callable[[tuple[int, ...]], Tensor]
# Called after each step with the number of completed steps and the total.
Progress = Callable[[int, int], None]
# Returns the network's output for a noisy image and its timestep.
Predict = Callable[[Tensor, int], Tensor]

_MIN_VARIANCE = 1e-20


class Scheduler(StrEnum):
    """Sampler update rule; the values of the config key `scheduler`."""

    DDPM = "ddpm"
    DDIM = "ddim"


class Prediction(StrEnum):
    """What the network predicts; the values of the config key `prediction_type`."""

    SAMPLE = "sample"  # the clean image
    VELOCITY = "v_prediction"  # sqrt(a_t) e - sqrt(1 - a_t) x_0 (Salimans and Ho, arXiv 2202.00512)


@dataclass(frozen=True)
class Sampling:
    """Sampler settings. `spacing` applies to DDIM; DDPM always uses `LEADING`."""

    scheduler: Scheduler
    steps: int = 25
    spacing: TimestepSpacing = TimestepSpacing.TRAILING

    def timesteps(self, train_timesteps: int) -> list[int]:
        """The timesteps to visit, from noise to image. Raises ValueError unless 1 <= steps <= train_timesteps."""
        leading = self.scheduler is Scheduler.DDPM
        return timesteps(self.steps, TimestepSpacing.LEADING if leading else self.spacing, train_timesteps)


@dataclass(frozen=True)
class Diffusion:
    """Diffusion process of a trained network: a_t per timestep, what it predicts, whether to clip x_0 to [-1, 1]."""

    alphas_cumprod: tuple[float, ...]
    prediction: Prediction
    clips: bool


def seeded_noise(seed: int) -> NoiseSource:
    """Seeded noise source on the CPU, so that a seed gives the same noise on every device."""
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator)


def sample(
    predict: Predict,
    start: Tensor,
    diffusion: Diffusion,
    sampling: Sampling,
    noise: NoiseSource,
    progress: Progress | None = None,
) -> Tensor:
    """Denoise `start`, noise float (B, C, H, W), into an image of the same shape.

    DDPM calls `noise` once for each step but the last. Raises ValueError for a number of steps out of range.
    """
    total = len(diffusion.alphas_cumprod)
    schedule, stride = sampling.timesteps(total), timestep_stride(sampling.steps, total)
    image = start
    for done, t in enumerate(schedule, start=1):
        alpha = diffusion.alphas_cumprod[t]
        alpha_after = diffusion.alphas_cumprod[t - stride] if t >= stride else 1.0
        output = predict(image, t)
        if diffusion.prediction is Prediction.SAMPLE:
            clean = output
        else:
            clean = math.sqrt(alpha) * image - math.sqrt(1 - alpha) * output
        clipped = clean.clamp(-1, 1) if diffusion.clips else clean
        if sampling.scheduler is Scheduler.DDIM:
            image = ddim_step(image, clean, clipped, alpha, alpha_after)
        else:
            step_noise = noise(tuple(start.shape)).to(start) if t > 0 else None
            image = ddpm_step(image, clipped, alpha, alpha_after, step_noise)
        if progress is not None:
            progress(done, len(schedule))
    return image


def ddim_step(image: Tensor, clean: Tensor, clipped: Tensor, alpha: float, alpha_after: float) -> Tensor:
    """DDIM update x_p = sqrt(a_p) x_0 + sqrt(1 - a_p) e (Song et al., arXiv 2010.02502, eq. 12 with sigma 0).

    The noise e is estimated from the *unclipped* x_0, as in the reference.
    """
    epsilon = (image - math.sqrt(alpha) * clean) / math.sqrt(1 - alpha)
    return math.sqrt(alpha_after) * clipped + math.sqrt(1 - alpha_after) * epsilon


def ddpm_step(image: Tensor, clipped: Tensor, alpha: float, alpha_after: float, noise: Tensor | None) -> Tensor:
    """DDPM update: x_p given x_t and x_0, its mean if `noise` is None (Ho et al., arXiv 2006.11239, eq. 6 and 7)."""
    ratio = alpha / alpha_after
    clean_weight = math.sqrt(alpha_after) * (1 - ratio) / (1 - alpha)
    image_weight = math.sqrt(ratio) * (1 - alpha_after) / (1 - alpha)
    mean = clean_weight * clipped + image_weight * image
    if noise is None:
        return mean
    variance = max((1 - alpha_after) / (1 - alpha) * (1 - ratio), _MIN_VARIANCE)
    return mean + math.sqrt(variance) * noise
