"""Kind MLP tokenizer: vectors to tokens and back."""

import torch

from anyseek.model.tokenizers.vqvae import VQVAE
from tests.golden.cases import Case
from tests.golden.checkers import CheckOptions
from tests.golden.comparison import Comparison
from tests.golden.networks import filled, tokenizer_config
from tests.golden.weights import normal

_TOLERANCE = 1e-4
_MARGIN = 1e-4


class MLPTokenizerChecker:
    """Runs a VQVAE whose encoder is an MLP."""

    def accepts(self, case: Case) -> bool:
        """A manifest entry of class VQVAE with the shape of the vectors that went in."""
        entry = case.manifest
        return isinstance(entry, dict) and entry.get("cls") == "VQVAE" and "emb_shape" in entry

    @torch.inference_mode()
    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compare tokens, code vectors and decoded vectors."""
        network, arrays, result = filled(VQVAE(tokenizer_config(case))), case.arrays, Comparison()
        # (B, C, 1, 1) -> (B, C)
        vectors = torch.from_numpy(normal(f"input:{case.name}:emb", case.manifest["emb_shape"])).flatten(1)
        tokens = torch.from_numpy(arrays["tokens"]).long()
        tokens_in = torch.from_numpy(arrays["tokens_in"]).long()
        result.equal("tokens", network.encode(vectors), arrays["tokens"], arrays["margin"] > _MARGIN)
        best = network.quantize.scores(network.latents(vectors)).topk(2, dim=2).values
        floats = {
            "margin": best[..., 0] - best[..., 1],
            "emb_in": vectors,
            "enc_out": network.encoder(vectors),
            "quant": network.quantize.lookup(tokens),
            "autoencoded": network.decode_tokens(tokens),
            "codes_from_tokens_in": network.quantize.lookup(tokens_in),
            "decoded_from_tokens_in": network.decode_tokens(tokens_in),
        }
        for name, values in floats.items():
            if name in arrays:
                result.close(name, values, arrays[name], _TOLERANCE)
            if f"{name}_head" in arrays:
                head = arrays[f"{name}_head"]
                result.close(f"{name}_head", values[:, : head.shape[1]], head, _TOLERANCE)
        return result


CHECKER = MLPTokenizerChecker()
