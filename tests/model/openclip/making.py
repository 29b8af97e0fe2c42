"""A folder with a small open_clip model of random weights."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from anyseek.model.errors import PackageMissing
from anyseek.model.openclip.embedder import import_open_clip
from anyseek.model.openclip.files import CONFIG_FILE, WEIGHTS_FILE

CONFIG: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def open_clip_or_skip() -> ModuleType:
    """The package; skips the test where it is not installed."""
    try:
        return import_open_clip()
    except PackageMissing as error:
        pytest.skip(str(error))


def make_folder(folder: Path, config: dict[str, Any] = CONFIG, preprocess: dict[str, Any] | None = None) -> Path:
    """Write the model of `config`; skips the test where open_clip is not installed."""
    open_clip = open_clip_or_skip()
    torch.manual_seed(7)
    model_class = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    network = model_class(**{key: value for key, value in config.items() if key != "custom_text"})
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess or {}}))
    return folder
