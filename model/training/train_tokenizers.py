"""Train the tokenizer of a vector modality, such as `visual_global`: vectors to 16 codes and back.

    python -m model.training.train_tokenizers --data FOLDER ... --field visual_global ... --out FOLDER [--steps 800]

The loss is one minus the cosine of vector and reconstruction, once as they are and once with the mean taken off both,
which is what retrieval compares. Prints the ceiling: how often a validation vector finds itself after it went through
its codes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from model.checkpoints import save_checkpoint
from model.data.samples import Split
from model.tokenizers.vqvae import VQVAE
from model.training.pretraining.bank import read_bank
from model.training.pretraining.config import DataConfig, Folder
from model.training.pretraining.data_sets import open_split
from model.training.product_quantizer import product_quantizer

_BATCH, _RATE, _SEED = 256, 5e-4, 0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of data sets")
    parser.add_argument("--field", nargs="+", required=True, help="arrays in them, one tokenizer each")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for field in options.field:
        tokenizer = train_tokenizer(read_vectors(options.data, field, Split.TRAIN), options.steps)
        unseen = read_vectors(options.data, field, Split.VAL)
        cosine, recall = ceiling(tokenizer, unseen)
        print(f"{field}: cosine {cosine:.4f}, R@1 of {len(unseen)} {recall:.4f}", flush=True)
        save_checkpoint(tokenizer, options.out / f"{field}.safetensors", torch.float16)


def read_vectors(data: Sequence[Path], field: str, split: Split) -> Tensor:
    """The unit vectors of all samples of a split that have them: float32 (n, C). Raises `TrainingDataInvalid`."""
    folders = open_split(DataConfig(tuple(Folder(path, 1.0) for path in data), window=1), split)
    vectors = read_bank(folders, {field: [field]}, print).vectors[field]
    return vectors[vectors.any(dim=1)].float()


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
