"""Build the network of a golden case."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from torch import nn

from anyseek.model.network.config import FourMConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.build import build_tokenizer
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.divae import DiVAE
from tests.golden.cases import Case, GoldenCaseInvalid
from tests.golden.weights import fill_weights

Network = TypeVar("Network", bound=nn.Module)


def build_network(config: Mapping[str, Any], class_name: str | None) -> nn.Module:
    """The network of a config already parsed: class `VQVAE` or `DiVAE`, or a 4M network where no class is named.

    Raises `ConfigInvalid` or `GoldenCaseInvalid` for one that does not exist here.
    """
    if "domains_in" in config:
        return FourM(FourMConfig.from_values(config))
    if class_name == "VQVAE":
        return build_tokenizer(TokenizerConfig.from_values(config))
    if class_name == "DiVAE":
        return DiVAE(TokenizerConfig.from_values(config))
    raise GoldenCaseInvalid(f"there is no network of class {class_name!r}")


def filled(network: Network) -> Network:
    """A network with weights by the rule, in evaluation mode."""
    fill_weights(network)
    return network.eval()


def filled_fourm(case: Case) -> FourM:
    """The case's 4M network with weights by the rule, in evaluation mode; cases share it, so leave it as it is."""
    return _filled_fourm(json.dumps(case.config))


@cache
def _filled_fourm(config: str) -> FourM:
    return filled(FourM(FourMConfig.from_values(json.loads(config))))


def tokenizer_config(case: Case) -> TokenizerConfig:
    """The config of the case's tokenizer. Raises `ConfigInvalid`, `GoldenCaseInvalid`."""
    return TokenizerConfig.from_values(case.config)
