"""Fetching open_clip models: `anyseek models pull openclip:ARCH/PRETRAINED`, or by a short name."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from anyseek.model.downloads.hub import fetch, remote_file
from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.errors import UnknownModel, WeightsCorrupt
from anyseek.model.files import FileLock, atomic_folder
from anyseek.model.fourm.published.store import Record, check_space, describe
from anyseek.model.openclip.embedder import import_open_clip
from anyseek.model.openclip.files import (
    ALIASES,
    CONFIG_FILE,
    RECORD_FILE,
    WEIGHTS_FILE,
    Alias,
    folder_of,
    full_name,
    published_folder,
    published_parts,
)


def pull_openclip(name: str, home: Path, endpoint: str | None = None) -> list[Path]:
    """Fetch `openclip:ARCH/PRETRAINED` or a short name; returns the files made now, none if all is there.

    A model with a short name is the pinned file, whose download resumes; `endpoint` is another address of the Hub.
    Others come with open_clip's own download. The folder appears whole or not at all, with a record of where the files
    came from and of their checksums. Raises `UnknownModel`, `PackageMissing`, `DownloadFailed`, `WeightsCorrupt`.
    """
    name = full_name(name)
    architecture, tag = published_parts(name)
    folder, downloads = folder_of(name, home), published_folder(home) / ".downloads"
    open_clip = import_open_clip()
    with FileLock(published_folder(home) / ".lock"):
        if folder.exists():
            return []
        pinned = next((alias for alias in ALIASES.values() if alias.model == name), None)
        if pinned is not None:
            pull_pinned(pinned, home, endpoint)
        else:
            published = open_clip.get_pretrained_cfg(architecture, tag)
            if not published:
                raise UnknownModel(
                    f"open_clip has no {name!r}; `open_clip.list_pretrained()` lists the available models"
                )
            with atomic_folder(folder) as made:
                _fill_folder(made, architecture, tag, published, downloads)
                _write_record(name, f"open_clip {open_clip.__version__}", made)
        shutil.rmtree(downloads, ignore_errors=True)
    return sorted(folder.iterdir())


def pull_pinned(alias: Alias, home: Path, endpoint: str | None) -> None:
    """Fetch the file that an alias names, and make it a folder that `local-dir:` reads.

    What came of an interrupted download is kept. Raises `DownloadFailed`, also if the Hub has another file than the
    pinned one, and `WeightsCorrupt` if that is not a model of its architecture.
    """
    file = remote_file(alias.repository, alias.file, alias.revision, endpoint)
    if file.checksum != alias.sha256:
        raise DownloadFailed(
            f"the Hub states the checksum {file.checksum} for {alias.file} of {alias.repository}, and {alias.name} is "
            f"pinned to {alias.sha256}; nothing was fetched"
        )
    downloads = published_folder(home) / ".downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    check_space(file.missing_bytes(downloads), home)
    fetch(file, downloads)
    architecture, _ = published_parts(alias.model)
    open_clip = import_open_clip()
    try:
        network = open_clip.create_model(architecture, str(downloads / alias.file), require_pretrained=True)
    except (RuntimeError, SafetensorError) as error:
        raise WeightsCorrupt(f"{alias.file} of {alias.repository} is no {architecture}: {error}") from error
    with atomic_folder(folder_of(alias.model, home)) as made:
        (downloads / alias.file).replace(made / WEIGHTS_FILE)
        _write_config(made, open_clip.get_model_config(architecture), network)
        _write_record(alias.model, f"{alias.repository}@{alias.revision}", made)


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
    _write_config(folder, config, network)


def _write_config(folder: Path, config: dict[str, Any], network: Any) -> None:
    values = {"model_cfg": config, "preprocess_cfg": network.visual.preprocess_cfg}
    (folder / CONFIG_FILE).write_text(json.dumps(values, indent=2))


def _write_record(name: str, source: str, folder: Path) -> None:
    files = {path.name: describe(path) for path in sorted(folder.iterdir())}
    (folder / RECORD_FILE).write_text(Record(name, source, files).to_json(), encoding="utf-8")


def changed_files(name: str, home: Path) -> list[str]:
    """Complaints about files of an open_clip model that changed since it was pulled, by the recorded checksums.

    Nothing is known of folders without a record. Reads every byte. Raises `UnknownModel`, `WeightsCorrupt` for a
    record that cannot be read.
    """
    folder = folder_of(full_name(name), home)
    path = folder / RECORD_FILE
    if not path.is_file():
        return []
    record = Record.from_json(path.read_text(encoding="utf-8"), path)
    remedy = f"remove {folder} and run `anyseek models pull {full_name(name)}`"
    return [f"{changed} has changed since it was pulled; {remedy}" for changed in record.changed(folder)]
