"""Kind `keys`: the names, shapes and kinds of a published network's state dict."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tests.golden.cases import Case
from tests.golden.checkers import CheckOptions
from tests.golden.comparison import Comparison
from tests.golden.networks import build_network


class KeysChecker:
    """Builds the network without memory and compares its state dict."""

    def accepts(self, case: Case) -> bool:
        """A JSON object with a config and keys."""
        return {"config", "keys"} <= case.document.keys()

    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compare names, shapes and whether each is a parameter or a buffer."""
        with torch.device("meta"):
            network = build_network(case.document["config"], case.document.get("cls"))
        return compare_keys(network, case.document["keys"])


def compare_keys(network: nn.Module, recorded: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """Compare a network's state dict with recorded `{name: {shape, kind}}`."""
    parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    built = {
        name: (list(tensor.shape), "param" if name in parameters else "buffer")
        for name, tensor in network.state_dict().items()
    }
    wanted = {name: (entry["shape"], entry["kind"]) for name, entry in recorded.items()}
    result = Comparison()
    missing, unexpected = sorted(wanted.keys() - built.keys()), sorted(built.keys() - wanted.keys())
    result.agree("missing keys", not missing, ", ".join(missing))
    result.agree("unexpected keys", not unexpected, ", ".join(unexpected))
    for name in sorted(built.keys() & wanted.keys()):
        result.agree(name, built[name] == wanted[name], f"{built[name]} is not {wanted[name]}")
    return result


CHECKER = KeysChecker()
