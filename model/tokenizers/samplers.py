"""Diffusion samplers, which turn noise into an image: DDPM (random) and DDIM (deterministic).

a_t is `alphas_cumprod[t]`, r the stride, p = t - r the timestep visited after t; a_p = 1 where p is negative.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from anyseek.model.tokenizers.noise_schedule import TimestepSpacing, timestep_stride, timesteps

# Standard normal float32 numbers of a shape; each call gives the next ones.
NoiseSource = Callable[[tuple[int, ...]], Tensor]
# Told how many steps are done and how many there are, after each of them.
Progress = Callable[[int, int], None]
# The network's output for a noisy image and its timestep.
Predict = Callable[[Tensor, int], Tensor]

_LEAST_VARIANCE = 1e-20


class Scheduler(StrEnum):
    """How one step goes; the values are those of the config key `scheduler`."""

    DDPM = "ddpm"
    DDIM = "ddim"


class Prediction(StrEnum):
    """What the network predicts; the values are those of the config key `prediction_type`."""

    SAMPLE = "sample"  # the clean image
    VELOCITY = "v_prediction"  # sqrt(a_t) e - sqrt(1 - a_t) x_0 (Salimans and Ho, arXiv 2202.00512)


@dataclass(frozen=True)
class Sampling:
    """Which steps to take. `spacing` is DDIM's choice; DDPM always goes `LEADING`."""

    scheduler: Scheduler
    steps: int = 25
    spacing: TimestepSpacing = TimestepSpacing.TRAILING

    def timesteps(self, train_timesteps: int) -> list[int]:
        """The timesteps to visit, from noise to image. Raises ValueError unless 1 <= steps <= train_timesteps."""
        leading = self.scheduler is Scheduler.DDPM
        return timesteps(self.steps, TimestepSpacing.LEADING if leading else self.spacing, train_timesteps)


@dataclass(frozen=True)
class Diffusion:
    """What a network was trained to undo: a_t of each timestep, what it predicts, whether images lie in [-1, 1]."""

    alphas_cumprod: tuple[float, ...]
    prediction: Prediction
    clips: bool


def seeded_noise(seed: int) -> NoiseSource:
    """Noise from a generator on the CPU, so that a seed means the same on every device."""
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
    """Turn noise `start`, float (B, C, H, W), into an image of that shape.

    DDPM draws from `noise` once for each step but the last. Raises ValueError for a number of steps out of range.
    """
    total = len(diffusion.alphas_cumprod)
    visited, stride = sampling.timesteps(total), timestep_stride(sampling.steps, total)
    image = start
    for done, t in enumerate(visited, start=1):
        alpha = diffusion.alphas_cumprod[t]
        alpha_after = diffusion.alphas_cumprod[t - stride] if t >= stride else 1.0
        clean = _clean(predict(image, t), image, alpha, diffusion.prediction)
        clipped = clean.clamp(-1, 1) if diffusion.clips else clean
        if sampling.scheduler is Scheduler.DDIM:
            image = ddim_step(image, clean, clipped, alpha, alpha_after)
        else:
            drawn = noise(tuple(start.shape)).to(start) if t > 0 else None
            image = ddpm_step(image, clipped, alpha, alpha_after, drawn)
        if progress is not None:
            progress(done, len(visited))
    return image


def _clean(output: Tensor, image: Tensor, alpha: float, prediction: Prediction) -> Tensor:
    """The clean image that the network's output stands for."""
    if prediction is Prediction.SAMPLE:
        return output
    return math.sqrt(alpha) * image - math.sqrt(1 - alpha) * output


def ddim_step(image: Tensor, clean: Tensor, clipped: Tensor, alpha: float, alpha_after: float) -> Tensor:
    """x_p = sqrt(a_p) x_0 + sqrt(1 - a_p) e (Song et al., arXiv 2010.02502, eq. 12 with sigma 0).

    The noise e is what is left of `image` without the *unclipped* x_0, as in the reference.
    """
    left = (image - math.sqrt(alpha) * clean) / math.sqrt(1 - alpha)
    return math.sqrt(alpha_after) * clipped + math.sqrt(1 - alpha_after) * left


def ddpm_step(image: Tensor, clipped: Tensor, alpha: float, alpha_after: float, drawn: Tensor | None) -> Tensor:
    """The mean of x_p given x_t and x_0, and noise of its variance (Ho et al., arXiv 2006.11239, eq. 6 and 7)."""
    kept = alpha / alpha_after
    clean_share = math.sqrt(alpha_after) * (1 - kept) / (1 - alpha)
    image_share = math.sqrt(kept) * (1 - alpha_after) / (1 - alpha)
    mean = clean_share * clipped + image_share * image
    if drawn is None:
        return mean
    variance = max((1 - alpha_after) / (1 - alpha) * (1 - kept), _LEAST_VARIANCE)
    return mean + math.sqrt(variance) * drawn
