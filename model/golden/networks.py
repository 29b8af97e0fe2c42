"""Building the network that a golden case is about."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from model.config import FourMConfig
from model.golden.cases import Case, GoldenCaseInvalid
from model.golden.weights import fill_weights
from model.tokenizers.vqvae import VQVAE, TokenizerConfig
from model.transformer import FourM


def build_network(config: Mapping[str, Any], class_name: str | None) -> nn.Module:
    """The network of a config already parsed: `VQVAE`, or a 4M network where no class is named.

    Raises `ConfigInvalid` or `GoldenCaseInvalid` for one that does not exist here.
    """
    if "domains_in" in config:
        return FourM(FourMConfig.from_values(config))
    if class_name == "VQVAE":
        return VQVAE(TokenizerConfig.from_values(config))
    raise GoldenCaseInvalid(f"there is no network of class {class_name!r}")


def filled_fourm(case: Case) -> FourM:
    """The case's 4M network with weights by the rule, in evaluation mode."""
    network = FourM(FourMConfig.from_values(case.config))
    fill_weights(network)
    return network.eval()


def filled_vqvae(case: Case) -> VQVAE:
    """The case's tokenizer with weights by the rule, in evaluation mode."""
    network = VQVAE(TokenizerConfig.from_values(case.config))
    fill_weights(network)
    return network.eval()
