"""Kind `forward`: the training-style forward of a 4M network, its masks, hidden states and losses."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from anyseek.model.network.tokens import DecoderTokens, EncoderTokens, ModalityTarget
from anyseek.model.network.transformer import Context, FourM
from tests.golden.cases import Arrays, Case
from tests.golden.checkers import CheckOptions
from tests.golden.comparison import Comparison
from tests.golden.fourm_inputs import recorded_inputs, recorded_targets
from tests.golden.logit_statistics import HIDDEN_TOLERANCE, LOSS_TOLERANCE, compare_logits
from tests.golden.networks import filled_fourm


class ForwardChecker:
    """Runs the forward once and its decoder once for each recorded variant of the self mask."""

    def accepts(self, case: Case) -> bool:
        """A manifest entry with the number of tokens and the variants."""
        entry = case.manifest
        return isinstance(entry, dict) and {"order", "n_enc", "n_dec", "variants", "seed_name"} <= entry.keys()

    @torch.inference_mode()
    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compare every recorded stage of the forward."""
        network, entry, arrays = filled_fourm(case), case.manifest, case.arrays
        seed = f"input:{entry['seed_name']}"
        inputs = recorded_inputs(network.config, arrays, "", entry["order"], seed)
        targets = recorded_targets(network.config, arrays, "", entry["order"])
        result = Comparison()
        tokens = network.embed_inputs(inputs, entry["n_enc"])
        encoded = network.run_encoder(tokens)
        context = network.make_context(tokens, encoded)
        _compare_encoder(result, tokens, encoded, context, arrays)
        configured = network.config
        for name, changes in entry["variants"].items():
            network.config = replace(configured, **changes)
            decoder_tokens = network.embed_targets(targets, entry["n_dec"])
            decoded = _compare_variant(result, f"{name}/", network, context, decoder_tokens, targets, arrays)
            if not changes:
                _compare_decoder(result, network, decoder_tokens, decoded, arrays)
        network.config = configured
        return result


def _compare_encoder(
    result: Comparison, tokens: EncoderTokens, encoded: Tensor, context: Context, arrays: Arrays
) -> None:
    result.close("enc_x0", tokens.content + tokens.embedding, arrays["enc_x0"], HIDDEN_TOLERANCE)
    result.equal("enc_mask", tokens.mask, arrays["enc_mask"])
    result.equal("enc_mod_mask", tokens.modality, arrays["enc_mod_mask"])
    result.close("enc_out", encoded, arrays["enc_out"], HIDDEN_TOLERANCE)
    result.close("context", context.states, arrays["context"], HIDDEN_TOLERANCE)


def _compare_variant(
    result: Comparison,
    place: str,
    network: FourM,
    context: Context,
    tokens: DecoderTokens,
    targets: Mapping[str, ModalityTarget],
    arrays: Arrays,
) -> Tensor:
    decoded = network.run_decoder(tokens.content + tokens.embedding, context, tokens.self_blocked)
    losses = network.losses(decoded, tokens, targets)
    names: list[str] = arrays[place + "mod_loss_names"].tolist()
    result.equal(place + "sa_mask", tokens.self_blocked, arrays[place + "sa_mask"])
    result.close(place + "dec_y", decoded, arrays[place + "dec_y"], HIDDEN_TOLERANCE)
    result.agree(place + "mod_loss_names", set(names) == set(targets), f"{names} are not those of the inputs")
    by_name = torch.stack([losses.per_modality[name] for name in names])
    result.close(place + "mod_loss", by_name, arrays[place + "mod_loss"], LOSS_TOLERANCE)
    result.close(place + "loss_mod", losses.mean_over_modalities(), arrays[place + "loss_mod"], LOSS_TOLERANCE)
    result.close(place + "loss_token", losses.mean_over_tokens(), arrays[place + "loss_token"], LOSS_TOLERANCE)
    return decoded


def _compare_decoder(
    result: Comparison, network: FourM, tokens: DecoderTokens, decoded: Tensor, arrays: Mapping[str, Any]
) -> None:
    result.close("dec_y0", tokens.content + tokens.embedding, arrays["dec_y0"], HIDDEN_TOLERANCE)
    result.equal("dec_mask", tokens.mask, arrays["dec_mask"])
    result.equal("dec_mod_mask", tokens.modality, arrays["dec_mod_mask"])
    result.equal("target_ids", tokens.target_ids, arrays["target_ids"])
    recorded = dict.fromkeys(name.split("/")[1] for name in arrays if name.startswith("logits/"))
    for key in recorded:
        chosen = decoded[tokens.modality == network.config.row(key).identifier]
        compare_logits(result, f"logits/{key}/", network.logits(key, chosen), arrays)


CHECKER = ForwardChecker()
