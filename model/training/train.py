"""Train the bundled network.

    python -m model.training.train --cache CACHE --tokenizers FOLDER --out FOLDER [--steps 5000] [--without VENDOR …]

Needs what `prepare`, `prepare_texts` and `train_tokenizers` wrote. Killed and started again it goes on from the last
checkpoint in OUT with the same batches, optimiser and averages, so the result is that of an unbroken run.
"""

import argparse
import math
import time
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from model.checkpoints import load_vqvae
from model.formats.color_palette import FIRST_VALUE
from model.modality_embeddings import ImageTokenDecoderEmbedding, SequenceEncoderEmbedding
from model.tiny import PALETTE, SEMANTIC, TINY, VISUAL
from model.tokenizers.vqvae import VQVAE
from model.training.batches import Sampler
from model.training.concepts import Split
from model.training.fit_shortcuts import fit_shortcuts
from model.training.objective import NEGATIVES, Objective, Targets
from model.training.progress import development_recall
from model.training.rows import PICTURE
from model.training.state import Averages, load_state, save_state
from model.training.store import Store, Texts, load_store, load_texts
from model.transformer import FourM

SEED = 0
_LOGIT_START = 0.1
_SIZE, _RATE, _DECAY, _WARM_UP, _CLIP = 64, 1e-3, 0.05, 50, 1.0
_SAVE_EVERY, _REPORT_EVERY, _MEASURE_EVERY = 50, 20, 200


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--tokenizers", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--without", nargs="*", default=[], help="sources whose training rows are left out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    store, texts = load_store(options.cache, options.without), load_texts(options.cache)
    sampler = Sampler(store, texts, SEED)
    tokenizers = {name: load_vqvae(options.tokenizers / f"{name}.safetensors") for name in (VISUAL, SEMANTIC)}
    objective = build_objective(store, texts, sampler, tokenizers)
    run(objective, sampler, options.out / "state.safetensors", options.steps)


def build_objective(store: Store, texts: Texts, sampler: Sampler, tokenizers: dict[str, VQVAE]) -> Objective:
    """A fresh network with everything its loss needs."""
    network = FourM(TINY)
    network.initialise(SEED)
    order_palette_values(network)
    for name, tokenizer in tokenizers.items():
        start_logits_at_codes(network, name, tokenizer)
    for tokenizer in tokenizers.values():
        tokenizer.requires_grad_(False)
    targets = build_targets(store, sampler, tokenizers)
    return Objective(network, tokenizers, fit_shortcuts(store, texts), targets)


def order_palette_values(network: FourM) -> None:
    """Start the 256 colour values as points on smooth curves, so that near values have near embeddings."""
    table = cast(SequenceEncoderEmbedding, network.encoder_embeddings[PALETTE]).token_emb.weight
    values = torch.arange(256)[:, None] / 255.0
    waves = torch.arange(1, table.shape[1] // 2 + 1)[None, :] * (math.pi / 8)
    with torch.no_grad():
        table[FIRST_VALUE:] = 0.1 * torch.cat(((values * waves).sin(), (values * waves).cos()), dim=1)


@torch.no_grad()
def start_logits_at_codes(network: FourM, name: str, tokenizer: VQVAE) -> None:
    """Start the logits of a target as products with the codes themselves.

    The 16 codebooks share one logit table of the network's width, which is 16 times a code's length: row k is the k-th
    code of every head, one after the other. A decoder output that holds a latent in its head's place then gives
    near codes high logits from the first step; from small random rows nothing was learned in 200 steps.
    """
    codes = tokenizer.quantize.codes  # (16, codes, 13)
    rows = codes.transpose(0, 1).flatten(1)
    embedding = cast(ImageTokenDecoderEmbedding, network.decoder_embeddings[name])
    embedding.token_emb.weight.copy_(_LOGIT_START * rows / rows.std())


@torch.inference_mode()
def build_targets(store: Store, sampler: Sampler, tokenizers: dict[str, VQVAE]) -> Targets:
    """Exact vectors, codes and groups of all rows (as visual targets) and sentences."""
    visual = torch.from_numpy(store.pooled)
    groups = torch.tensor([sampler.groups[row.group] for row in store.rows])
    plain = torch.from_numpy(store.where(Split.TRAIN, PICTURE, "plain"))
    return Targets(
        visual,
        torch.cat([tokenizers[VISUAL].encode(part) for part in torch.split(visual, 4096)]),
        groups,
        visual[plain].mean(dim=0),
        sampler.semantic_vectors,
        tokenizers[SEMANTIC].encode(sampler.semantic_vectors),
        sampler.semantic_group,
        sampler.semantic_vectors.mean(dim=0),
    )


def run(objective: Objective, sampler: Sampler, state: Path, steps: int) -> None:
    """Train from the state at `state`, if there is one, up to `steps`."""
    trained = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    optimiser = build_optimiser(trained)
    averages = Averages(trained)
    first = load_state(state, trained, optimiser, averages) if state.exists() else 0
    plain = torch.from_numpy(sampler.store.where(Split.TRAIN, PICTURE, "plain"))
    began = time.monotonic()
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, steps)
        losses = train_step(objective, optimiser, sampler, plain, step)
        averages.update(trained, step)
        if (step + 1) % _REPORT_EVERY == 0:
            parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
            print(f"step {step + 1} {(time.monotonic() - began) / (step + 1 - first):.2f} s/step {parts}", flush=True)
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == steps:
            save_state(state, trained, optimiser, averages, step + 1)
        if (step + 1) % _MEASURE_EVERY == 0 or step + 1 == steps:
            with averages.applied(trained):
                print(development_recall(objective, sampler.store, sampler.texts), flush=True)


def train_step(
    objective: Objective, optimiser: torch.optim.Optimizer, sampler: Sampler, plain: Tensor, step: int
) -> dict[str, float]:
    """One update; returns the parts of the loss."""
    generator = torch.Generator().manual_seed(SEED * 1_000_003 + step)
    negatives = plain[torch.randperm(len(plain), generator=generator)[:NEGATIVES]]
    loss, parts = objective(sampler.batch(step, _SIZE), negatives)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(objective.parameters(), _CLIP)
    optimiser.step()
    return dict(parts)


def build_optimiser(trained: dict[str, torch.nn.Parameter]) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices only."""
    decayed = [p for p in trained.values() if p.ndim >= 2]
    others = [p for p in trained.values() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=_RATE, betas=(0.9, 0.95))


def rate_at(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    if step < _WARM_UP:
        return _RATE * (step + 1) / _WARM_UP
    done = (step - _WARM_UP) / max(steps - _WARM_UP, 1)
    return _RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


if __name__ == "__main__":
    main()
