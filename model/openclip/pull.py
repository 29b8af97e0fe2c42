"""Fetching open_clip models: `anyseek models pull openclip:ARCH/PRETRAINED`."""

import json
import shutil
from pathlib import Path
from typing import Any

from model.downloads.wheels import DownloadFailed
from model.errors import UnknownModel
from model.files import whole_folder
from model.openclip.files import CONFIG_FILE, WEIGHTS_FILE, folder_of, published_folder, published_parts
from model.openclip.package import import_open_clip


def pull_openclip(name: str, home: Path) -> list[Path]:
    """Fetch `openclip:ARCH/PRETRAINED` with open_clip's own download; returns the files made now, none if all is there.

    The folder appears whole or not at all; downloads are kept until then. Raises `UnknownModel`, `PackageMissing`,
    `DownloadFailed`.
    """
    architecture, tag = published_parts(name)
    folder = folder_of(name, home)
    if folder.exists():
        return []
    published = import_open_clip().get_pretrained_cfg(architecture, tag)
    if not published:
        raise UnknownModel(f"open_clip has no {name!r}; `open_clip.list_pretrained()` lists the available models")
    downloads = published_folder(home) / ".downloads"
    with whole_folder(folder) as made:
        _fill_folder(made, architecture, tag, published, downloads)
    shutil.rmtree(downloads, ignore_errors=True)
    return sorted(folder.iterdir())


def _fill_folder(folder: Path, architecture: str, tag: str, published: dict[str, Any], downloads: Path) -> None:
    """Download `architecture` with the weights `tag` and write them into a folder that `local-dir:` reads."""
    import open_clip
    from safetensors.torch import save_file

    config = open_clip.get_model_config(architecture)
    # Weights trained with QuickGELU are also published for architectures without it, where they give wrong results.
    config["quick_gelu"] = bool(config.get("quick_gelu") or published.get("quick_gelu"))
    try:
        network = open_clip.create_model(
            architecture, tag, cache_dir=str(downloads), force_quick_gelu=config["quick_gelu"], require_pretrained=True
        )
        tokenizer = open_clip.get_tokenizer(architecture, cache_dir=str(downloads))
    except (RuntimeError, OSError) as error:
        raise DownloadFailed(f"open_clip could not fetch {architecture}/{tag}: {error}") from error
    save_file(network.state_dict(), folder / WEIGHTS_FILE)
    if hasattr(tokenizer, "save_pretrained"):  # CLIP's own tokenizer comes with the package and has no files
        tokenizer.save_pretrained(folder)
    values = {"model_cfg": config, "preprocess_cfg": network.visual.preprocess_cfg}
    (folder / CONFIG_FILE).write_text(json.dumps(values, indent=2))
