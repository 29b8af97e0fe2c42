"""Kind diffusion tokenizer: images to tokens, single network passes, and whole samplings."""

import re
from itertools import count

import torch
from torch import Tensor

from anyseek.model.tokenizers.diffusion import NoiseSource, Sampling, Scheduler, TimestepSpacing
from anyseek.model.tokenizers.divae import DiVAE
from tests.golden.cases import Case
from tests.golden.checkers import CheckOptions
from tests.golden.comparison import Comparison
from tests.golden.image_tokens import compare_tokens
from tests.golden.networks import filled, tokenizer_config
from tests.golden.weights import normal

_TOLERANCE = 1e-3
_UNET = re.compile(r"unet_t(\d+)")
_SAMPLING = re.compile(r"(ddim|ddpm)(\d+)(?:_(\w+))?")


class DiVAETokenizerChecker:
    """Runs a DiVAE on an image, and its decoder on the recorded tokens from drawn noise."""

    def accepts(self, case: Case) -> bool:
        """A manifest entry of class DiVAE with the size of the image."""
        entry = case.manifest
        return isinstance(entry, dict) and entry.get("cls") == "DiVAE" and {"batch", "size"} <= entry.keys()

    @torch.inference_mode()
    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compare tokens, every recorded pass of the UNet and every recorded sampling."""
        network, result = filled(DiVAE(tokenizer_config(case))), Comparison()
        shape = (case.manifest["batch"], network.config.n_channels, case.manifest["size"], case.manifest["size"])
        image = torch.from_numpy(normal(f"input:{case.name}:x", shape)).clamp(-1, 1)
        tokens = compare_tokens(result, "", network, image, case.arrays)
        codes, start = network.quantize.lookup(tokens), normal(f"input:{case.name}:noise", shape)
        for name, recorded in case.arrays.items():
            if match := _UNET.fullmatch(name):
                predicted = network.denoise(torch.from_numpy(start), int(match[1]), codes)
                result.close(name, predicted[..., ::2, ::2], recorded, _TOLERANCE)
            elif match := _SAMPLING.fullmatch(name):
                decoded = network.decode_tokens(tokens, _recorded_noise(case), _sampling(match), shape[2:])
                result.close(name, decoded, recorded, _TOLERANCE)
        return result


def _recorded_noise(case: Case) -> NoiseSource:
    """First the noise that sampling starts from, then the draws of DDPM, each by its name."""
    number = count()

    def draw(shape: tuple[int, ...]) -> Tensor:
        drawn = next(number)
        return torch.from_numpy(
            normal(f"input:{case.name}:ddpm{drawn}" if drawn else f"input:{case.name}:noise", shape)
        )

    return draw


def _sampling(match: re.Match[str]) -> Sampling:
    scheduler, steps, spacing = match.groups()
    return Sampling(Scheduler(scheduler), int(steps), TimestepSpacing(spacing or TimestepSpacing.TRAILING))


CHECKER = DiVAETokenizerChecker()
