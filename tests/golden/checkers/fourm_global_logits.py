"""Kind `global_logits`: one encoder pass over conditions, one decoder pass for all tokens of image targets."""

import torch

from anyseek.model.network.transformer import FourM
from tests.golden.cases import Arrays, Case
from tests.golden.checkers import CheckOptions
from tests.golden.comparison import Comparison
from tests.golden.fourm_inputs import generation_seed, modalities_under, recorded_inputs
from tests.golden.logit_statistics import HIDDEN_TOLERANCE, compare_logits
from tests.golden.networks import filled_fourm


class GlobalLogitsChecker:
    """Runs each recorded set of conditions the way retrieval does."""

    def accepts(self, case: Case) -> bool:
        """A manifest entry that lists sets of conditions and targets."""
        entry = case.manifest
        return (
            isinstance(entry, list)
            and len(entry) > 0
            and all(isinstance(e, dict) and {"case", "conditions", "targets"} <= e.keys() for e in entry)
        )

    @torch.inference_mode()
    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compare encoder output, decoder output and logits of every set."""
        network, seed, result = filled_fourm(case), generation_seed(case), Comparison()
        for entry in case.manifest:
            _compare_set(result, network, case.arrays, entry["case"], entry["targets"], seed)
        return result


def _compare_set(result: Comparison, network: FourM, arrays: Arrays, name: str, targets: list[str], seed: str) -> None:
    place = f"{name}/"
    keys = modalities_under(arrays, place)
    tokens = network.embed_inputs(recorded_inputs(network.config, arrays, place, keys, seed))
    encoded = network.run_encoder(tokens)
    stride = int(arrays[place + "enc_stride"])
    result.equal(place + "enc_mask", tokens.mask, arrays[place + "enc_mask"])
    result.close(place + "enc_out_strided", encoded[:, ::stride], arrays[place + "enc_out_strided"], HIDDEN_TOLERANCE)
    decoded = network.decode_image_tokens(network.make_context(tokens, encoded), targets)
    for key, states in decoded.items():
        result.close(f"{place}{key}/dec_y", states, arrays[f"{place}{key}/dec_y"], HIDDEN_TOLERANCE)
        compare_logits(result, f"{place}{key}/", network.logits(key, states), arrays)


CHECKER = GlobalLogitsChecker()
