"""Train the tokenizers of the two global targets: vectors to 16 codes and back.

    python -m model.training.train_tokenizers --cache CACHE --out FOLDER [--steps 3000]

The loss is one minus the cosine of vector and reconstruction, once as they are and once with the gallery's mean taken
off both, which is what retrieval compares. Prints the ceiling: how often a vector of an unseen emoji finds itself
after it went through its codes.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.checkpoints import save_checkpoint
from model.tokenizers.vqvae import VQVAE
from model.training.concepts import Split
from model.training.product_quantizer import product_quantizer
from model.training.rows import PICTURE
from model.training.store import Store, Texts, load_store, load_texts, semantic_target

_BATCH, _RATE, _SEED = 256, 5e-4, 0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    store, texts = load_store(options.cache), load_texts(options.cache)
    for name, (train, unseen) in {
        "visual_global": visual_vectors(store),
        "semantic_global": semantic_vectors(store, texts),
    }.items():
        tokenizer = train_tokenizer(train, options.steps)
        cosine, recall = ceiling(tokenizer, unseen)
        print(f"{name}: cosine {cosine:.4f}, R@1 of {len(unseen)} {recall:.4f}", flush=True)
        save_checkpoint(tokenizer, options.out / f"{name}.safetensors", torch.float16)


def visual_vectors(store: Store) -> tuple[Tensor, Tensor]:
    """Training vectors (all rows) and unseen ones (plain OpenMoji pictures of the development concepts)."""
    plain = store.where(Split.DEVELOPMENT, PICTURE, "plain")
    unseen = [n for n in plain if store.rows[n].source == "openmoji"]
    return torch.from_numpy(store.pooled[store.where(Split.TRAIN)]), torch.from_numpy(store.pooled[unseen])


def semantic_vectors(store: Store, texts: Texts) -> tuple[Tensor, Tensor]:
    """Training vectors (targets and single texts of training subjects, class sentences) and unseen targets."""
    splits = {row.subject: row.split for row in store.rows}
    targets = {subject: semantic_target(texts, subject) for subject in splits}
    numbers = sorted({n for s in splits if splits[s] is Split.TRAIN for n in texts.of_subject.get(s, [])})
    train = [t for s, t in targets.items() if t is not None and splits[s] is Split.TRAIN]
    unseen = {s.partition(":")[2]: t for s, t in targets.items() if t is not None and splits[s] is Split.DEVELOPMENT}
    known = np.concatenate([np.stack(train), texts.pooled[numbers], texts.classes])
    return torch.from_numpy(known), torch.from_numpy(np.stack(list(unseen.values())))


def train_tokenizer(vectors: Tensor, steps: int) -> VQVAE:
    """A tokenizer of unit vectors float32 (n, C), in evaluation mode.

    It starts as a product quantizer; then the decoder learns to make more of the codes, which stay as they are.
    """
    tokenizer = product_quantizer(vectors)
    generator = torch.Generator().manual_seed(_SEED)
    tokens = torch.cat([tokenizer.encode(part) for part in torch.split(vectors, 4096)])
    mean = vectors.mean(dim=0)
    trained = [*tokenizer.post_quant_proj.parameters(), *tokenizer.decoder.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=_RATE, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, steps, pct_start=0.05)
    for step in range(steps):
        chosen = torch.randint(len(vectors), (_BATCH,), generator=generator)
        loss = reconstruction_loss(tokenizer.decode_tokens(tokens[chosen]), vectors[chosen], mean)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(f"  step {step}: loss {loss.item():.4f}", flush=True)
    tokenizer.quantize.cache_values()
    return tokenizer


def reconstruction_loss(rebuilt: Tensor, vectors: Tensor, mean: Tensor) -> Tensor:
    """Mean of 1 - cosine, centred and as they are: both float (B, C), `vectors` unit rows."""
    rebuilt = F.normalize(rebuilt, dim=1)
    centred = F.cosine_similarity(rebuilt - mean, vectors - mean, dim=1)
    return (1 - centred).mean() + (1 - (rebuilt * vectors).sum(dim=1)).mean()


@torch.inference_mode()
def ceiling(tokenizer: VQVAE, vectors: Tensor) -> tuple[float, float]:
    """Mean cosine of vectors (n, C) to themselves after coding, and the share that finds itself first, both centred."""
    rebuilt = F.normalize(tokenizer.decode_tokens(tokenizer.encode(vectors)), dim=1)
    mean = vectors.mean(dim=0)
    queries, gallery = F.normalize(rebuilt - mean, dim=1), F.normalize(vectors - mean, dim=1)
    scores = queries @ gallery.T
    first = scores.argmax(dim=1) == torch.arange(len(vectors))
    return scores.diagonal().mean().item(), first.float().mean().item()


if __name__ == "__main__":
    main()
