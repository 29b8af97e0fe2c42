"""Kind ViT tokenizer: images, label maps or feature maps to tokens and back, in several sizes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from tests.golden.cases import Case
from tests.golden.checkers import CheckOptions
from tests.golden.comparison import Comparison
from tests.golden.image_tokens import TOKENIZER_TOLERANCE, compare_tokens
from tests.golden.networks import filled, tokenizer_config
from tests.golden.weights import normal

# Logits are not recorded with margins; labels are compared where ours lead by more than any float error.
_LABEL_MARGIN = 1e-3


class ViTTokenizerChecker:
    """Runs each recorded input; those that are not stored are drawn from their name."""

    def accepts(self, case: Case) -> bool:
        """A manifest entry of class VQVAE with the sizes of named inputs."""
        entry = case.manifest
        return isinstance(entry, dict) and entry.get("cls") == "VQVAE" and {"inputs", "stride"} <= entry.keys()

    @torch.inference_mode()
    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compare tokens, codes and decoded images or maps."""
        network, result = filled(ImageVQVAE(tokenizer_config(case))), Comparison()
        for name, size in case.manifest["inputs"].items():
            image = _recorded_image(case, name, size, network.config.n_channels)
            recorded = compare_tokens(result, f"{name}/", network, image, case.arrays)
            decoded = network.decode_tokens(recorded)
            _compare_decoded(result, f"{name}/", decoded, case, map_only=not network.config.patch_proj)
        return result


def _recorded_image(case: Case, name: str, size: Mapping[str, int], channels: int) -> Tensor:
    if f"{name}/x" in case.arrays:
        return torch.from_numpy(case.arrays[f"{name}/x"])
    shape = (size["batch"], channels, size["h"], size["w"])
    return torch.from_numpy(normal(f"input:{case.name}:{name}", shape))


def _compare_decoded(result: Comparison, place: str, decoded: Tensor, case: Case, *, map_only: bool) -> None:
    arrays, step = case.arrays, case.manifest["stride"]
    spatial = 1 if map_only else step
    strided = decoded[:, ::step, ::spatial, ::spatial]
    result.close(place + "decoded_strided", strided, arrays[place + "decoded_strided"], TOKENIZER_TOLERANCE)
    if place + "decoded_mean_std" in arrays:
        summary = torch.stack((decoded.mean(), decoded.std()))
        result.close(place + "decoded_mean_std", summary, arrays[place + "decoded_mean_std"], TOKENIZER_TOLERANCE)
    if place + "argmax" in arrays:
        best = decoded.topk(2, dim=1)
        leads = (best.values[:, 0] - best.values[:, 1] > _LABEL_MARGIN).numpy()
        result.equal(place + "argmax", best.indices[:, 0], arrays[place + "argmax"], leads)


CHECKER = ViTTokenizerChecker()
