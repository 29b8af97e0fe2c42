"""The effect of bfloat16, int8 and fewer patches on vectors that are softly decoded, and on best tokens."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from anyseek.model.encoders.minilm import load_minilm
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.errors import WeightsMissing
from anyseek.model.fourm.bundled.bundle import Bundle, load_bundle
from anyseek.model.fourm.bundled.layout import CAPTION, LONGEST_CAPTION
from anyseek.model.network.packing import pack
from anyseek.model.network.tokens import ModalityInput
from benchmarks.model.int8 import round_to_int8
from benchmarks.model.networks import INT8, PLAIN, TARGET, Case, Networks, Variant

MARGIN = 0.01
_CLASSES = Path(__file__).parents[2] / "model" / "encoders" / "imagenet_classes.txt"
_CAPTIONS = 64


def rounding(networks: Networks, rough: Variant) -> dict[str, Any]:
    """`rough` compared with float32: with the random weights by input, with the bundled ones by space."""
    random = {}
    for modality in ("rgb", "caption"):
        exact = _logits(networks, Case(modality, 4, PLAIN))
        found = _logits(networks, Case(modality, 4, rough))
        random[modality] = {"cosine_min": _least_cosine(exact, found)} | _best_tokens(exact, found)
    return {"margin": MARGIN, "random weights": random, "bundled weights": _bundled(rough)}


def _logits(networks: Networks, case: Case) -> Tensor:
    network = networks.of(case.variant)
    return network.decode_global(network.encode(networks.inputs(case)), [TARGET])[TARGET].float()


def _bundled(rough: Variant) -> dict[str, Any] | str:
    """By space of `4m-tiny`, for captions; or why there is nothing."""
    try:
        inputs = _captions(Path(os.environ.get("ANYSEEK_HOME") or "~/.anyseek").expanduser())
    except WeightsMissing as error:
        return f"not measured: {error}"
    bundle = load_bundle("4m-tiny")
    spaces = tuple(bundle.spaces)
    exact = bundle.network.decode_global(bundle.network.encode({CAPTION: inputs}), spaces)
    if rough.dtype == INT8:
        round_to_int8(bundle.network)
    pack(bundle.network.to(rough.numbers), spaces)
    given = replace(inputs, values=inputs.values.to(rough.numbers))
    found = bundle.network.decode_global(bundle.network.encode({CAPTION: given}), spaces)
    return {space: _compared(bundle, space, exact, found) for space in spaces}


def _captions(home: Path) -> ModalityInput:
    folder = check_encoders(home)
    encoder = load_minilm(folder / "minilm-l6.safetensors", folder / "minilm-l6.tokenizer.json")
    classes = _CLASSES.read_text(encoding="utf-8").splitlines()
    chosen = classes[:: len(classes) // _CAPTIONS][:_CAPTIONS]
    encoded = encoder([f"a photo of a {name}" for name in chosen])
    return ModalityInput(encoded.states[:, :LONGEST_CAPTION], encoded.unused[:, :LONGEST_CAPTION])


def _compared(bundle: Bundle, space: str, exact: Mapping[str, Tensor], rough: Mapping[str, Tensor]) -> dict[str, Any]:
    tokenizer = bundle.tokenizers[space]
    vectors = [
        F.normalize(tokenizer.decode_probabilities(logits[space].float().softmax(dim=2)), dim=1)
        for logits in (exact, rough)
    ]
    cosines = (vectors[0] * vectors[1]).sum(dim=1)
    told = {"cosine_min": float(cosines.min()), "cosine_mean": float(cosines.mean())}
    return told | _best_tokens(exact[space], rough[space].float())


def _least_cosine(exact: Tensor, rough: Tensor) -> float:
    """Between the probabilities of all codes of a global target, float (B, n, V), which is what decoding takes."""
    return float(F.cosine_similarity(exact.softmax(dim=2).flatten(1), rough.softmax(dim=2).flatten(1)).min())


def _best_tokens(exact: Tensor, rough: Tensor) -> dict[str, Any]:
    """How many tokens lead by more than the margin in logits, and how many of these stay the best."""
    best = exact.topk(2, dim=2)
    sure = best.values[..., 0] - best.values[..., 1] > MARGIN
    same = best.indices[..., 0] == rough.argmax(dim=2)
    return {"tokens": same.numel(), "sure": int(sure.sum()), "sure_and_same": int((sure & same).sum())}
