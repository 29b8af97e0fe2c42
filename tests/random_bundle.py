"""A whole bundle with random weights: all inputs and targets of `4m-tiny`, stored as int8, its networks tiny.

It is read back as the bundled weights are, so whatever runs on it runs on those.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from anyseek.model.checkpoints.files import save_checkpoint
from anyseek.model.checkpoints.quantized import quantize
from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.files import file_digest
from anyseek.model.fourm.bundled.bundle import (
    CONSTANTS,
    MANIFEST,
    NETWORK,
    PRIOR,
    PROJECTION,
    SHORTCUTS,
    VOCABULARY,
    fingerprint,
)
from anyseek.model.fourm.bundled.dense_decoder import FILE as DECODER
from anyseek.model.fourm.bundled.dense_decoder import SOURCES, DenseDecoder
from anyseek.model.fourm.bundled.images import decoder_file
from anyseek.model.fourm.bundled.layout import CAPTION, DENSE, INPUTS, MAX_CAPTION_TOKENS, SEMANTIC, TEXTS, VISUAL
from anyseek.model.fourm.bundled.shortcuts import MAP_CHANNELS, Projection, Shortcuts
from anyseek.model.network.config import EmbeddingKind, FourMConfig, ModalityConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_vqvae import ImageDecoder, ImageVQVAE
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.pretraining.plan import make_vocabulary, save_vocabulary
from tests.golden.weights import fill_weights

_LENGTHS = {VISUAL: 1280, SEMANTIC: 384}
_MAX_LENGTHS = {"caption": 24, "color_palette": 23, "metadata": 40}
_CODES, _DIM = 64, 32
_WORDS = ("a red house", "two blue chairs beside a low table", "a drawing of a dog", "the photo shows a person")


def write_random_bundle(folder: Path, says: Mapping[str, str] | None = None, dense: Sequence[str] = ()) -> None:
    """Write all files of a bundle into `folder`, which is made; always the same ones, about 3 MB.

    With `says` its network predicts these texts of up to 30 tokens, by modality, whatever it is given; the modalities
    `dense` as images of 32 x 32 pixels, of which it takes the tokens of `normal` as well, and a decoder of
    images beside it.
    """
    folder.mkdir(parents=True)
    vocabulary = make_vocabulary(_WORDS, words=100)
    save_vocabulary(vocabulary, folder / VOCABULARY)
    text = TextTokenizer(vocabulary, VOCABULARY)
    network = FourM(_network_config(text.vocabulary_size, dense))
    fill_weights(network)
    for key, wanted in (says or {}).items():
        _teach(network, key, [text.sentinel_ids[1], *text.encode(wanted), text.sentinel_ids[2]])
    save_checkpoint(network, folder / NETWORK, torch.int8)
    for space, length in _LENGTHS.items():
        mlp = "BottleneckMLP/B_1-Wi_16"
        tokenizer = VQVAE(TokenizerConfig(length, mlp, mlp, "memcodes", _CODES, num_codebooks=16, latent_dim=32))
        fill_weights(tokenizer)
        save_checkpoint(tokenizer, folder / f"{space}.safetensors", torch.int8)
    for name in dense:
        save_checkpoint(ImageDecoder(random_image_tokenizer(name)), folder / decoder_file(name), torch.int8)
    if dense:
        save_decoder(random_decoder(), folder / DECODER)
    save_file(quantize(_drawn(Projection().state_dict(), 1)), folder / PROJECTION)
    own = {
        name: WIDTH if name == "caption" else 1280 for name, row in INPUTS.items() if row.is_seen or name == "caption"
    }
    save_file(
        quantize(_drawn(Shortcuts(own, _LENGTHS, dict.fromkeys(_LENGTHS, 8)).state_dict(), 2)), folder / SHORTCUTS
    )
    means = {f"{space}/{name}": torch.zeros(2, n) for space, n in _LENGTHS.items() for name in INPUTS}
    means |= {f"{space}/{PRIOR}": torch.zeros(n) for space, n in _LENGTHS.items()}
    save_file(quantize(_drawn(means, 3)), folder / CONSTANTS)
    write_manifest(folder)


def random_image_tokenizer(modality: str, codes: int = 32) -> ImageVQVAE:
    """A tokenizer of 4 x 4 tokens, for a modality that is an image."""
    labels, channels = (5, 4) if modality == "semseg" else (None, 3 if modality in ("rgb", "normal") else 1)
    vit = {"enc_type": "vit_w16b1h2_enc", "dec_type": "vit_w16b1h2_dec", "image_size": 32, "patch_size": 8}
    shape = {"n_channels": channels, "n_labels": labels, **vit, "codebook_size": codes, "latent_dim": 8}
    tokenizer = ImageVQVAE(TokenizerConfig.from_values(shape))
    fill_weights(tokenizer)
    return tokenizer.eval()


def random_decoder(labels: int = 5) -> DenseDecoder:
    """A decoder of images that finds everything best from drawings, and then from pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        decoder = DenseDecoder(labels)
    decoder.errors.fill_(0.9)
    decoder.errors[:, SOURCES.index("rgb")], decoder.errors[:, SOURCES.index("canny_edge")] = 0.5, 0.25
    return decoder.eval().requires_grad_(False)


def write_manifest(folder: Path) -> None:
    """Write the manifest of the files that are in `folder`."""
    files = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)
    manifest = {
        "name": folder.name,
        "licence": "CC0-1.0 (random numbers)",
        "files": {name: file_digest(folder / name) for name in files},
        "default_spaces": dict.fromkeys(INPUTS, VISUAL) | {"caption": SEMANTIC},
        "gallery": {VISUAL: "exact", SEMANTIC: "predicted"},
        "fusion": "late",
        "classes": {"semseg": {"1": "wall", "2": "chair"}},
    }
    manifest["fingerprint"] = fingerprint(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def _network_config(ids: int, dense: Sequence[str]) -> FourMConfig:
    """Three layers deep enough to tell inputs apart; the vocabulary of its sequences has `ids` ids."""
    rows = {
        row.key: ModalityConfig(row.key, EmbeddingKind.PIXELS, (7, 7), patch=1, channels=MAP_CHANNELS)
        for row in INPUTS.values()
    }
    rows[CAPTION] = ModalityConfig(
        CAPTION, EmbeddingKind.SEQUENCE_EMBEDDING, width=WIDTH, max_length=MAX_CAPTION_TOKENS
    )
    for key in TEXTS:
        rows[key] = ModalityConfig(key, EmbeddingKind.SEQUENCE, vocabulary=ids, max_length=_MAX_LENGTHS[key])
    for key in _LENGTHS:
        rows[key] = ModalityConfig(key, EmbeddingKind.IMAGE_TOKENS, (4, 4), vocabulary=_CODES, learned_positions=True)
    for name in dense:
        rows[DENSE[name]] = ModalityConfig(DENSE[name], EmbeddingKind.IMAGE_TOKENS, (4, 4), vocabulary=32)
    return FourMConfig(
        domains_in=(*(row.key for row in INPUTS.values()), *(DENSE[name] for name in dense if name == "normal")),
        domains_out=(*_LENGTHS, *TEXTS, *(DENSE[name] for name in dense)),
        dim=_DIM,
        encoder_depth=2,
        decoder_depth=1,
        num_heads=2,
        gated_mlp=True,
        norm_bias=False,
        qkv_bias=False,
        proj_bias=False,
        mlp_bias=False,
        modalities=rows,
    )


@torch.no_grad()
def _teach(network: FourM, key: str, ids: list[int]) -> None:
    """Make each of `ids` predict the next one: blocks that add nothing, and logits that know every place."""
    for name, parameter in network.decoder.named_parameters():
        if name.endswith(("proj.weight", "fc2.weight")):
            parameter.zero_()
    given = torch.tensor([ids[:-1]])
    content, embedding = network.decoder_embeddings[key](given, torch.zeros_like(given, dtype=torch.bool))
    states = network.decoder_norm(content + embedding)[0]
    wanted = torch.zeros(len(states), network.config.row(key).vocabulary)
    wanted[torch.arange(len(states)), torch.tensor(ids[1:])] = 20.0
    network.decoder_embeddings[key].to_logits.weight.copy_(torch.linalg.lstsq(states, wanted).solution.T)


def _drawn(tensors: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Numbers of the size that a unit vector of that length has."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(tensor.shape, generator=generator) / max(tensor.shape[-1] if tensor.ndim else 1, 1) ** 0.5
        for name, tensor in tensors.items()
    }


def save_decoder(decoder: DenseDecoder, path: Path) -> None:
    """Write a decoder as int8, its convolutions as matrices with a row for each output: one scale each is enough."""
    tensors = decoder.state_dict()
    flat = {name: tensor.flatten(1) if tensor.ndim > 2 else tensor for name, tensor in tensors.items()}
    save_file(quantize(flat), path)
