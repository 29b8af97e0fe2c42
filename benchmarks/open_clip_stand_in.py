"""Make an open_clip model of the two encoders here, to try bridges where no CLIP weights can be had.

    python -m benchmarks.open_clip_stand_in PACKS --to FOLDER
    anyseek models adapt openclip:local-dir:/FOLDER

Its image tower is timm's `tf_efficientnet_lite0` with the weights of EfficientNet-Lite0, its text tower a BERT with
those of MiniLM. Nothing is trained but the projection of the image tower: a ridge regression from pooled features to
the mean vector of a photo's captions, on photos of the pack `captions` (train split, research data too). It is a real
model of open_clip, though a poor one: what it gains by a bridge says nothing about how much a CLIP gains.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.captions import CaptionsSource, Options
from anyseek.model.encoders.minilm import BERT_NAMES, WIDTH, load_minilm
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.files import whole_folder
from anyseek.model.home import default_home
from anyseek.model.openclip.files import CONFIG_FILE, WEIGHTS_FILE
from anyseek.model.openclip.package import import_open_clip
from anyseek.model.openclip.preprocess import Preprocessing, picture_input

_PREPROCESS = {
    "size": 224,
    "mean": [127 / 255] * 3,
    "std": [128 / 255] * 3,
    "interpolation": "bicubic",
    "resize_mode": "longest",
    "fill_color": 255,
}
_BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": WIDTH,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
_TOKENIZER = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "sep_token": "[SEP]"} | {
    "cls_token": "[CLS]",
    "unk_token": "[UNK]",
    "model_max_length": 64,
}
_EPSILON = 1e-3  # of timm's batch norms
_PENALTY = 1.0  # of the mean variance of pooled features
_LEAST = 1e-6  # so that equal pictures have a map, too
_AT_ONCE = 16


@click.command()
@click.argument("packs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--photos", type=click.IntRange(min=1), default=4_000, show_default=True)
def main(packs: Path, to: Path, photos: int) -> None:
    """Make the model from PACKS/captions."""
    torch.set_num_threads(1)
    with whole_folder(to.absolute()) as made:
        (made / "config.json").write_text(json.dumps(_BERT))
        network = _network(made)
        _fill_towers(network, check_encoders(default_home()))
        _fit_projection(network, packs / "captions", photos)
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, made / WEIGHTS_FILE)
        vocabulary = check_encoders(default_home()) / "minilm-l6.tokenizer.json"
        (made / "tokenizer.json").write_bytes(vocabulary.read_bytes())
        (made / "tokenizer_config.json").write_text(json.dumps(_TOKENIZER))
        config = {"model_cfg": _config(to.absolute()), "preprocess_cfg": _PREPROCESS}
        (made / CONFIG_FILE).write_text(json.dumps(config, indent=2))
    click.echo(f"written to {to}")


def _config(folder: Path) -> dict[str, Any]:
    vision = {"timm_model_name": "tf_efficientnet_lite0", "timm_pool": "avg", "timm_proj": "linear", "image_size": 224}
    text = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_model_pretrained": False}
    text |= {"hf_pooler_type": "mean_pooler", "hf_proj_type": None, "context_length": 64}
    return {"embed_dim": WIDTH, "custom_text": True, "vision_cfg": vision, "text_cfg": text}


def _network(folder: Path) -> Any:
    config = {name: value for name, value in _config(folder).items() if name != "custom_text"}
    return import_open_clip().CustomTextCLIP(**config).eval().requires_grad_(False)


def _fill_towers(network: Any, encoders: Path) -> None:
    """Both encoders' weights under the names that timm and transformers give them."""
    eye = load_file(encoders / "efficientnet-lite0.safetensors")
    missing, unknown = network.visual.trunk.load_state_dict(dict(_timm_names(eye, network.visual.trunk)), strict=False)
    assert not unknown, unknown
    assert all("num_batches_tracked" in name for name in missing), missing
    reader = load_file(encoders / "minilm-l6.safetensors")
    missing, unknown = network.text.transformer.load_state_dict(dict(_bert_names(reader)), strict=False)
    assert not unknown, unknown
    assert all("position_ids" in name for name in missing), missing


def _timm_names(tensors: dict[str, Tensor], trunk: Any) -> Iterator[tuple[str, Tensor]]:
    """Convolutions with folded norms become convolutions, each with a norm that only adds its bias."""
    ours = ["stem", *(name for index in range(16) for name in _block_parts(index, tensors)), "head"]
    theirs = [name for name, module in trunk.named_modules() if isinstance(module, torch.nn.Conv2d)]
    norms = [name for name, module in trunk.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for own, convolution, norm in zip(ours, theirs, norms, strict=True):
        bias = tensors[f"{own}.bias"]
        yield f"{convolution}.weight", tensors[f"{own}.weight"]
        yield f"{norm}.weight", torch.ones_like(bias)
        yield f"{norm}.bias", bias
        yield f"{norm}.running_mean", torch.zeros_like(bias)
        yield f"{norm}.running_var", torch.full_like(bias, 1 - _EPSILON)


def _block_parts(index: int, tensors: dict[str, Tensor]) -> list[str]:
    parts = [f"blocks.{index}.{part}" for part in ("expand", "depthwise", "project")]
    return [part for part in parts if f"{part}.weight" in tensors]


def _bert_names(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        if name.startswith("blocks."):
            _, index, rest = name.split(".", 2)
            part, _, kind = rest.rpartition(".")
            yield f"encoder.layer.{index}.{BERT_NAMES[part]}.{kind}", tensor.float()
    yield "embeddings.word_embeddings.weight", tensors["words.weight"].float()
    yield "embeddings.position_embeddings.weight", tensors["positions.weight"].float()
    yield "embeddings.token_type_embeddings.weight", tensors["segment"].float().repeat(2, 1)
    yield "embeddings.LayerNorm.weight", tensors["norm.weight"].float()
    yield "embeddings.LayerNorm.bias", tensors["norm.bias"].float()


@torch.inference_mode()
def _fit_projection(network: Any, pack: Path, most: int) -> None:
    source = CaptionsSource("captions", Options(pack))
    keys = source.keys(Split.TRAIN)
    chosen = [keys[place] for place in np.random.default_rng(0).permutation(len(keys))[:most]]
    encoders = check_encoders(default_home())
    reader = load_minilm(encoders / "minilm-l6.safetensors", encoders / "minilm-l6.tokenizer.json")
    how = Preprocessing.from_config(_PREPROCESS)
    seen, wanted = [], []
    for start in range(0, len(chosen), _AT_ONCE):
        samples = [source.sample(key).values for key in chosen[start : start + _AT_ONCE]]
        pixels = torch.from_numpy(np.stack([picture_input(values["rgb"], how) for values in samples]))
        seen.append(network.visual.trunk(pixels))
        wanted += [_said(reader, [caption.text for caption in values["caption"]]) for values in samples]
        if start % (_AT_ONCE * 25) == 0:
            click.echo(f"{start:,} of {len(chosen):,} photos", err=True)
    network.visual.head.proj.weight.copy_(_ridge(torch.cat(seen).double(), torch.stack(wanted).double()).T)


def _said(reader: Any, captions: Sequence[str]) -> Tensor:
    return F.normalize(reader(captions).pooled.mean(dim=0), dim=0)


def _ridge(seen: Tensor, wanted: Tensor) -> Tensor:
    """A map without bias, as the projection of a CLIP has none: (n, 1280), (n, 384) -> (1280, 384)."""
    products = seen.T @ seen / len(seen)
    penalty = (_PENALTY * (seen - seen.mean(dim=0)).square().mean() + _LEAST) * torch.eye(seen.shape[1])
    return torch.linalg.solve(products + penalty, seen.T @ wanted / len(seen)).float()


if __name__ == "__main__":
    main()
