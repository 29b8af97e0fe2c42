"""A complete set of published checkpoints with random weights: real vocabularies and token grids, tiny networks.

Files are read back as the published ones are, so whatever runs on them runs on those.
"""

import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import nn

from anyseek.model.checkpoints.files import save_checkpoint
from anyseek.model.fourm.published import names
from anyseek.model.fourm.published.store import MODEL_FILE, Record, describe, folder_of, vocabulary_file, write_record
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.build import build_tokenizer
from anyseek.model.tokenizers.config import TokenizerConfig

SHARED_VOCABULARY = Path(__file__).parents[2] / "shared" / "data" / f"{names.VOCABULARY}.json"

_MAPS_224 = ("tok_rgb@224", "tok_depth@224", "tok_semseg@224", "tok_normal@224", "tok_clip@224")
_OUT_7 = (*_MAPS_224, "caption", "det")
_OUT_21 = (
    *_OUT_7,
    *("metadata", "human_poses", "color_palette", "sam_instance", "tok_dinov2@224", "tok_dinov2_global"),
    *("tok_imagebind@224", "tok_imagebind_global", "tok_canny_edge@224", "tok_sam_edge@224"),
)
_MAPS_448 = tuple(key.replace("@224", "@448") for key in _MAPS_224)
_DOMAINS = {
    "4M-21_B": (("rgb@224", *_OUT_21, "t5_caption"), _OUT_21),
    names.SUPER_RESOLUTION: (("rgb@224", *_OUT_7, "rgb@448", *_MAPS_448), _MAPS_448),
}

_VIT = {"enc_type": "vit_w32b1h2_enc", "dec_type": "vit_w32b1h2_dec", "latent_dim": 8, "post_mlp": True}
_DIFFUSION = _VIT | {"dec_type": "unet_patched", "unet_width": 32, "unet_blocks": 1, "image_size": 448}
_DIFFUSION |= {"beta_schedule": "linear", "prediction_type": "sample"}
_MAP = _VIT | {"patch_proj": False, "codebook_size": 8192, "image_size": 448}
_MLP = {"enc_type": "BottleneckMLP/B_1-Wi_16", "dec_type": "BottleneckMLP/B_1-Wi_16", "quant_type": "memcodes"}
_GLOBAL = _MLP | {"codebook_size": 8192, "num_codebooks": 16, "latent_dim": 64}
_TOKENIZERS: dict[str, dict[str, Any]] = {
    names.RGB: _DIFFUSION | {"n_channels": 3, "codebook_size": 16_384},
    names.DEPTH: _DIFFUSION | {"n_channels": 1, "codebook_size": 8192},
    names.NORMAL: _DIFFUSION | {"n_channels": 3, "codebook_size": 8192},
    names.EDGE: _DIFFUSION | {"n_channels": 1, "codebook_size": 8192, "image_size": 512},
    names.SEMSEG: _VIT | {"n_channels": 8, "n_labels": 134, "codebook_size": 4096, "image_size": 448},
    names.CLIP: _MAP | {"n_channels": 512},
    names.DINOV2: _MAP | {"n_channels": 768, "patch_size": 14},
    names.IMAGEBIND: _MAP | {"n_channels": 1280, "patch_size": 14},
    names.DINOV2_GLOBAL: _GLOBAL | {"n_channels": 768},
    names.IMAGEBIND_GLOBAL: _GLOBAL | {"n_channels": 1280},
    names.HUMAN_POSES: _MLP | {"n_channels": 207, "codebook_size": 1024, "num_codebooks": 8, "latent_dim": 32},
    names.SAM_INSTANCE: _VIT | {"n_channels": 1, "codebook_size": 1024, "image_size": 64, "out_conv": True},
}

_COCO_CLASSES = (
    "airplane, apple, backpack, banana, baseball bat, baseball glove, bear, bed, bench, bicycle, bird, boat, "
    "book, bottle, bowl, broccoli, bus, cake, car, carrot, cat, cell phone, chair, clock, couch, cow, cup, dining "
    "table, dog, donut, elephant, fire hydrant, fork, frisbee, giraffe, hair drier, handbag, horse, hot dog, "
    "keyboard, kite, knife, laptop, microwave, motorcycle, mouse, orange, oven, parking meter, person, pizza, "
    "potted plant, refrigerator, remote, sandwich, scissors, sheep, sink, skateboard, skis, snowboard, spoon, "
    "sports ball, stop sign, suitcase, surfboard, teddy bear, tennis racket, tie, toaster, toilet, toothbrush, "
    "traffic light, train, truck, tv, umbrella, vase, wine glass, zebra"
)


def write_random_models(home: Path, *, dim: int = 32, seed: int = 0) -> None:
    """Install below `home`: `4M-21_B` of width `dim`, its 12 tokenizers, `4M-7-SR_L_CC12M` of half that width, and a
    vocabulary.

    `dim` is a multiple of 8. The same `dim` and `seed` give the same weights, stored as bfloat16. About 65 MB and one
    second at the default width.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, (inputs, outputs) in _DOMAINS.items():
        width = dim if name == "4M-21_B" else dim // 2
        install_random(FourM(_network_config(inputs, outputs, width)), name, home, generator)
    for name, values in _TOKENIZERS.items():
        install_random(build_tokenizer(TokenizerConfig.from_values(values)), name, home, generator)
    _install_vocabulary(home)


def _network_config(inputs: tuple[str, ...], outputs: tuple[str, ...], dim: int) -> FourMConfig:
    return FourMConfig(
        inputs,
        outputs,
        dim=dim,
        encoder_depth=1,
        decoder_depth=1,
        num_heads=2,
        gated_mlp=True,
        norm_bias=False,
        qkv_bias=False,
        proj_bias=False,
        mlp_bias=False,
        tie_token_embeddings=True,  # halves the files
    )


def install_random(network: Any, name: str, home: Path, generator: torch.Generator) -> None:
    folder = folder_of(name, home)
    folder.mkdir(parents=True)
    _fill(network, generator)
    save_checkpoint(network, folder / MODEL_FILE, torch.bfloat16)
    write_record(Record(name, "random", {MODEL_FILE: describe(folder / MODEL_FILE)}), folder)


def _fill(network: nn.Module, generator: torch.Generator) -> None:
    """Weights large enough that predictions differ from token to token; position tables stay."""
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith("_codebook.embed") or (isinstance(tensor, nn.Parameter) and tensor.requires_grad):
                _draw(tensor, name, generator)


def _draw(tensor: torch.Tensor, name: str, generator: torch.Generator) -> None:
    if tensor.ndim <= 1:
        tensor.normal_(1.0 if name.endswith("weight") else 0.0, 0.1, generator=generator)
    elif name.endswith(("codes", "embed", "token_emb.weight", "mod_emb", "pos_emb", "mask_token")):
        tensor.normal_(0.0, 1.0, generator=generator)
    else:
        tensor.normal_(0.0, 1 / math.sqrt(math.prod(tensor.shape[1:])), generator=generator)


def _install_vocabulary(home: Path) -> None:
    path = vocabulary_file(home)
    path.parent.mkdir(parents=True)
    if SHARED_VOCABULARY.exists():
        shutil.copyfile(SHARED_VOCABULARY, path)
    else:
        _small_vocabulary().save(os.fspath(path))
    write_record(Record(names.VOCABULARY, "random", {path.name: describe(path)}), path.parent)


def _small_vocabulary() -> Tokenizer:
    """Every special token of the published vocabulary at its own id, the words of the formats, and characters."""
    marks = ["[PAD]", "[UNK]", "[SOS]", "[EOS]", *(f"[S_{n}]" for n in range(200))]
    bins = [f"v{axis}={value}" for axis in range(4) for value in range(1000)]
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper() and chr(code) != '"']
    words = ["human", "pose", "global", "camera", "shape", "point", "polygon", "none"]
    classes = _COCO_CLASSES.split(", ")
    pieces = [*marks, *bins, *classes, *characters, *(f"##{one}" for one in characters), *words]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    made.add_special_tokens([AddedToken(piece, single_word=True, normalized=False) for piece in [*marks, *bins]])
    made.add_special_tokens([AddedToken(piece, single_word=True, normalized=True) for piece in classes])
    return made
