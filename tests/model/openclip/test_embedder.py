"""What is particular to open_clip models; `tests/contracts/test_embedder.py` has what all embedders do."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from anyseek.model.openclip.embedder import SPACE, OpenCLIPEmbedder
from anyseek.model.openclip.files import CONFIG_FILE, WEIGHTS_FILE, is_installed
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import Embedder, Sample
from tests.model.openclip.making import CONFIG, make_folder

PICTURE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
DRAWING = np.where(np.eye(40, dtype=bool), 0, 255).astype(np.uint8)


def _load(folder: Path) -> Embedder:
    return load_embedder(f"openclip:local-dir:{folder}", folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "model")


def _vector(embedder: Embedder, **values: Any) -> Any:
    return embedder.embed([Sample(values)], [SPACE])[SPACE][0]


def test_vectors_are_those_of_open_clip(folder: Path) -> None:
    embedder = _load(folder)
    import open_clip
    from PIL import Image

    network, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        picture = network.eval().encode_image(transform(Image.fromarray(PICTURE))[None], normalize=True)[0]
        words = network.encode_text(tokenizer(["A red bicycle"]), normalize=True)[0]
    np.testing.assert_allclose(_vector(embedder, rgb=PICTURE), picture.numpy(), atol=1e-6)
    np.testing.assert_allclose(_vector(embedder, caption="A red bicycle"), words.numpy(), atol=1e-6)
    assert embedder.spaces[SPACE].dimension == CONFIG["embed_dim"]


def test_a_drawing_is_seen_as_a_picture_of_it(folder: Path) -> None:
    embedder = _load(folder)
    as_picture = np.repeat(DRAWING[:, :, None], 3, axis=2)
    np.testing.assert_allclose(_vector(embedder, canny_edge=DRAWING), _vector(embedder, rgb=as_picture), atol=1e-2)
    np.testing.assert_array_equal(_vector(embedder, canny_edge=DRAWING), _vector(embedder, canny_edge=255 - DRAWING))


def test_several_modalities_weigh_the_same(folder: Path) -> None:
    embedder = _load(folder)
    total = _vector(embedder, rgb=PICTURE) + _vector(embedder, caption="a cat")
    both = _vector(embedder, rgb=PICTURE, caption="a cat")
    np.testing.assert_allclose(both, total / np.linalg.norm(total), atol=1e-6)


def test_threads_share_it(folder: Path) -> None:
    embedder = _load(folder)
    texts = [f"text number {n}" for n in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: _vector(embedder, caption=text), texts))
    for text, vector in zip(texts, found, strict=True):
        np.testing.assert_array_equal(vector, _vector(embedder, caption=text))


def test_one_thread_at_a_time_uses_the_tokenizer(folder: Path) -> None:
    """As of transformers' fast ones, which change themselves while they cut texts to a length."""
    embedder, borrowed = _load(folder), threading.Lock()
    assert isinstance(embedder, OpenCLIPEmbedder)
    tokenizer = embedder._tokenizer

    def borrowing(texts: list[str]) -> torch.Tensor:
        if not borrowed.acquire(blocking=False):
            raise RuntimeError("Already borrowed")
        try:
            time.sleep(0.01)
            return tokenizer(texts)
        finally:
            borrowed.release()

    embedder._tokenizer = borrowing
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda n: _vector(embedder, caption=f"text number {n}"), range(8)))) == 8


def _change_a_weight(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    tensors["visual.proj"][0, 0] += 0.001
    save_file(tensors, folder / WEIGHTS_FILE)


def _change_the_mean(folder: Path) -> None:
    make_folder(folder, preprocess={"mean": [0.5, 0.5, 0.5]})


def _change_the_activation(folder: Path) -> None:
    make_folder(folder, CONFIG | {"quick_gelu": True})


@pytest.mark.parametrize("change", [_change_a_weight, _change_the_mean, _change_the_activation])
def test_whatever_changes_vectors_changes_the_fingerprint(folder: Path, change: Callable[[Path], None]) -> None:
    before = _load(folder).fingerprint
    assert _load(folder).fingerprint == before
    change(folder)
    assert _load(folder).fingerprint != before


def test_the_fingerprint_does_not_depend_on_where_the_files_lie(folder: Path, tmp_path: Path) -> None:
    before = _load(folder).fingerprint
    assert _load(folder.rename(tmp_path / "elsewhere")).fingerprint == before


def test_a_tokenizer_of_its_own_lies_in_the_folder(folder: Path) -> None:
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    before = _load(folder).fingerprint
    make_folder(folder, CONFIG | {"text_cfg": CONFIG["text_cfg"] | {"hf_tokenizer_name": "somebody/words"}})
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "cat": 1, "dog": 2, "[PAD]": 3}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    embedder = _load(folder)
    assert embedder.fingerprint != before
    np.testing.assert_array_equal(_vector(embedder, caption="wug"), _vector(embedder, caption="blick"))
    assert not np.array_equal(_vector(embedder, caption="cat"), _vector(embedder, caption="dog"))


def test_missing_files_are_named_with_the_remedy(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS_FILE).rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(WeightsMissing, match=r"\*\.safetensors; put the files"):
        _load(folder)
    with pytest.raises(WeightsMissing, match=r"open_clip_config\.json; put the files"):
        _load(tmp_path / "nowhere")
    with pytest.raises(WeightsMissing, match="anyseek models pull openclip:ViT-B-32/openai"):
        load_embedder("openclip:ViT-B-32/openai", tmp_path)


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    del tensors["visual.proj"]
    save_file(tensors, folder / WEIGHTS_FILE)
    with pytest.raises(CheckpointMismatch, match=r"visual\.proj"):
        _load(folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (WEIGHTS_FILE, b"no tensors"),
        (CONFIG_FILE, b"{"),
        (CONFIG_FILE, b"{}"),
        (CONFIG_FILE, b'{"model_cfg": {"embed_dim": 8}}'),
        (CONFIG_FILE, b'{"model_cfg": {"embed_dim": 8, "vision_cfg": {"petals": 3}, "text_cfg": {}}}'),
    ],
)
def test_a_broken_file_is_named(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(WeightsCorrupt, match=str(folder)):
        _load(folder)


@pytest.mark.skipif(is_installed(), reason="the extra openclip is installed")
def test_without_the_extra_the_remedy_is_named(tmp_path: Path) -> None:
    from anyseek.model.errors import PackageMissing

    with pytest.raises(PackageMissing, match=r"pip install 'anyseek\[openclip\]'"):
        _load(tmp_path)


def test_names_are_told_without_importing_torch() -> None:
    program = (
        "import sys, pathlib; from anyseek.model.registry.loading import known_models;"
        "print(known_models(pathlib.Path('.')), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('4m-tiny', '4m-tiny-open', 'hashing') False"
