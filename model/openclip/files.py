"""Names of open_clip models, the folders their files lie in, and fetching them. Imports neither torch nor open_clip.

A folder holds `open_clip_config.json`, one safetensors file, and the tokenizer's files where the model has a tokenizer
of its own: the layout that open_clip reads as `local-dir:` and that its repositories on the Hugging Face Hub have.
"""

import importlib.util
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from model.embedder import UnknownModel
from model.wheels import DownloadFailed

PREFIX = "openclip:"
LOCAL_PREFIX = f"{PREFIX}local-dir:"
CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"

_PUBLISHED = re.compile(r"openclip:([A-Za-z0-9_][\w.-]*)/([A-Za-z0-9_][\w.-]*)", re.ASCII)


def is_installed() -> bool:
    """Whether the package open_clip is there; nothing is imported."""
    return importlib.util.find_spec("open_clip") is not None


def folder_of(name: str, home: Path) -> Path:
    """Where the files of `openclip:ARCH/PRETRAINED` or `openclip:local-dir:PATH` lie. Raises `UnknownModel`."""
    if name.startswith(LOCAL_PREFIX):
        folder = Path(name.removeprefix(LOCAL_PREFIX))
        if not folder.is_absolute():
            raise UnknownModel(f"{name!r} needs an absolute path: collections remember a model by its name")
        return folder
    return _published_folder(home).joinpath(*published_parts(name))


def published_parts(name: str) -> tuple[str, str]:
    """The architecture and the tag of `openclip:ARCH/PRETRAINED`. Raises `UnknownModel`."""
    match = _PUBLISHED.fullmatch(name)
    if match is None:
        raise UnknownModel(f"{name!r} is no model: write {PREFIX}ARCH/PRETRAINED or {LOCAL_PREFIX}/PATH")
    return match[1], match[2]


def pulled_models(home: Path) -> tuple[str, ...]:
    """The names of the published models whose files are below `home`."""
    configs = sorted(_published_folder(home).glob(f"[!.]*/[!.]*/{CONFIG_FILE}"))
    return tuple(f"{PREFIX}{path.parent.parent.name}/{path.parent.name}" for path in configs)


def pull_openclip(name: str, home: Path) -> list[Path]:
    """Fetch `openclip:ARCH/PRETRAINED` with open_clip's own download; returns the files made now, none if all is there.

    The folder appears whole or not at all; downloads are kept until then. Raises `UnknownModel`, `PackageMissing`,
    `DownloadFailed`.
    """
    architecture, tag = published_parts(name)
    folder = folder_of(name, home)
    if folder.exists():
        return []
    from model.openclip.package import import_open_clip

    published = import_open_clip().get_pretrained_cfg(architecture, tag)
    if not published:
        raise UnknownModel(f"open_clip has no {name!r}; `open_clip.list_pretrained()` lists what there is")
    folder.parent.mkdir(parents=True, exist_ok=True)
    downloads = _published_folder(home) / ".downloads"
    with tempfile.TemporaryDirectory(dir=_published_folder(home), prefix=".") as scratch:
        made = Path(scratch) / "made"
        _make_folder(made, architecture, tag, published, downloads)
        made.rename(folder)
    shutil.rmtree(downloads, ignore_errors=True)
    return sorted(folder.iterdir())


def _make_folder(folder: Path, architecture: str, tag: str, published: dict[str, Any], downloads: Path) -> None:
    """Download `architecture` with the weights `tag` and write them as a folder that `local-dir:` reads."""
    import open_clip
    from safetensors.torch import save_file

    config = open_clip.get_model_config(architecture)
    # Weights trained with QuickGELU are published for architectures without it too, and are wrong without it.
    config["quick_gelu"] = bool(config.get("quick_gelu") or published.get("quick_gelu"))
    try:
        network = open_clip.create_model(
            architecture, tag, cache_dir=str(downloads), force_quick_gelu=config["quick_gelu"], require_pretrained=True
        )
        tokenizer = open_clip.get_tokenizer(architecture, cache_dir=str(downloads))
    except (RuntimeError, OSError) as error:
        raise DownloadFailed(f"open_clip could not fetch {architecture}/{tag}: {error}") from error
    folder.mkdir()
    save_file(network.state_dict(), folder / WEIGHTS_FILE)
    if hasattr(tokenizer, "save_pretrained"):  # CLIP's own tokenizer comes with the package and has no files
        tokenizer.save_pretrained(folder)
    values = {"model_cfg": config, "preprocess_cfg": network.visual.preprocess_cfg}
    (folder / CONFIG_FILE).write_text(json.dumps(values, indent=2))


def _published_folder(home: Path) -> Path:
    return home / "models" / "openclip"
