"""Read and write networks as safetensors files whose metadata is their config.

Reading never holds two copies of the weights. It builds a network without numbers, then assigns the memory-mapped
tensors, or the tensors that `anyseek.model.checkpoints.quantized` restores from them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from anyseek.model.checkpoints.quantized import ROWS, quantize, restore_tensor, share_rows, tensor_names
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from anyseek.model.files import atomic_file, file_digest
from anyseek.model.network.config import ConfigInvalid, FourMConfig, parse_metadata
from anyseek.model.network.modality_embeddings import fixed_position_tables
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.build import Tokenizer, build_tokenizer
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.image_vqvae import ImageDecoder, ImageVQVAE
from anyseek.model.tokenizers.vqvae import VQVAE

_METADATA = "__metadata__"  # where the header of a safetensors file has them
_CONFIG_KEYS = frozenset({"domains_in", "enc_type", "quant_type"})  # one of them is in every config


def load_fourm(path: Path, dtype: torch.dtype = torch.float32) -> FourM:
    """The 4M network in a file, in evaluation mode.

    Tensors already of `dtype` stay memory-mapped. Raises `WeightsMissing`, `WeightsCorrupt`, `ConfigInvalid` and
    `CheckpointMismatch`.
    """
    network = _empty_fourm(path)
    load_strictly(network, path, dtype)
    network.tie_parameters()
    return network.eval()


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file, of the class that its config means, in evaluation mode. Raises as `load_fourm` does."""
    network = _empty_tokenizer(path)
    load_strictly(network, path)
    network.eval()
    if isinstance(network, VQVAE):
        network.quantize.cache_values()
    return network


def load_vqvae(path: Path) -> VQVAE:
    """The tokenizer of vectors in a file, its value vectors kept. Raises as `load_fourm` does."""
    network = load_tokenizer(path)
    if not isinstance(network, VQVAE):
        raise ConfigInvalid(f"{path} holds a tokenizer of images ({type(network).__name__}), not of vectors")
    return network


def load_image_decoder(path: Path) -> ImageDecoder:
    """The decoding half of a tokenizer of images in a file that holds no more. Raises as `load_fourm` does."""
    tokenizer = _empty_tokenizer(path)
    if not isinstance(tokenizer, ImageVQVAE):
        raise ConfigInvalid(f"{path} is of a {type(tokenizer).__name__}; only an ImageVQVAE decodes in one pass")
    network = ImageDecoder(tokenizer)
    load_strictly(network, path)
    return network.eval()


def check_fourm(path: Path) -> None:
    """Check the file's header without reading tensors. Raises as `load_fourm` does."""
    _stored_names(_empty_fourm(path), path)


def check_tokenizer(path: Path) -> None:
    """Check the file's header without reading tensors. Raises as `load_tokenizer` does."""
    _stored_names(_empty_tokenizer(path), path)


def _empty_fourm(path: Path) -> FourM:
    config = FourMConfig.from_values(read_config(path))
    with shapes_only():
        return FourM(config)


def _empty_tokenizer(path: Path) -> Tokenizer:
    config = TokenizerConfig.from_values(read_config(path))
    with shapes_only():
        return build_tokenizer(config)


def save_checkpoint(
    network: FourM | Tokenizer | ImageDecoder,
    path: Path,
    dtype: torch.dtype | None = None,
    distinct_rows: Mapping[str, Tensor] = MappingProxyType({}),
) -> None:
    """Write a network with its config; parameters are cast to `dtype` where it is given, tables stay as they are.

    With `torch.int8`, everything including tables is quantised by `anyseek.model.checkpoints.quantized`. Position
    tables are computed when the file is read. A shared tensor is written once. A table in `distinct_rows` is
    stored as those rows and one row for all others (`anyseek.model.checkpoints.quantized`). The file appears
    whole or not at all, and the same network always gives the same bytes. Raises `WeightsCorrupt` for numbers that int8
    cannot hold.
    """
    tied = tied_names(network)
    distinct = {  # of shared tensors only the first by name
        name: tensor.contiguous()
        for name, tensor in network.state_dict().items()
        if min(tied.get(name, [name])) == name
    }
    tensors = share_rows(distinct, distinct_rows)
    if dtype is torch.int8:
        computed = fixed_position_tables(network)
        tensors = quantize({name: tensor for name, tensor in tensors.items() if name not in computed})
    elif dtype is not None:
        parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
        tensors |= {name: tensor.to(dtype) for name, tensor in tensors.items() if name in parameters}
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, network.config.to_metadata())
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Sort the metadata of a safetensors file by name.

    safetensors writes tensors in a fixed order but metadata in any order, so equal weights could have different
    checksums. The sorted header has the same length, so the tensors stay in place.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
        whole = {_METADATA: dict(sorted(header.pop(_METADATA).items())), **header}
        written = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(written) <= length, "the header was written by the same rules"
        file.seek(8)
        file.write(written.ljust(length))


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata strings of a safetensors file. Raises `WeightsMissing`, `WeightsCorrupt`."""
    if not path.is_file():
        raise WeightsMissing(f"there is no weights file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise WeightsCorrupt(f"{path} is not a complete safetensors file: {error}") from error


def config_is_in_header(path: Path) -> bool:
    """Whether a checkpoint's config is its metadata. Raises `WeightsMissing`, `WeightsCorrupt`."""
    return not _CONFIG_KEYS.isdisjoint(read_metadata(path))


def read_config(path: Path) -> dict[str, object]:
    """The config of a checkpoint, parsed: its metadata, or where these hold none the file `config.json` beside it.

    Raises `WeightsMissing`, `WeightsCorrupt`, `ConfigInvalid` for a `config.json` that is no object.
    """
    beside = path.with_name("config.json")
    if config_is_in_header(path) or not beside.is_file():
        return parse_metadata(read_metadata(path))
    try:
        values = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigInvalid(f"{beside} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigInvalid(f"{beside} must hold an object of config keys, not {type(values).__name__}")
    # a value may have been written as the string that it would be in metadata
    return values | parse_metadata({key: value for key, value in values.items() if isinstance(value, str)})


def load_strictly(network: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Replace every tensor of a network by the one of the same name in a file, floats cast to `dtype`.

    What `anyseek.model.checkpoints.quantized` stored is restored. A name that the network ties to another may be absent
    if the other is there, and so may position tables that are computed. Raises `CheckpointMismatch` naming each missing
    and unexpected tensor and each of another shape, `WeightsMissing`, `WeightsCorrupt`.
    """
    source = _stored_names(network, path)
    with safe_open(path, framework="pt") as file:
        stored = frozenset(file.keys())
        tensors = {}
        for name, kept in source.items():
            tensor = restore_tensor(kept, file.get_tensor, stored)
            if tensor.dtype is torch.int8:
                raise WeightsCorrupt(f"the tensor {kept} is int8 and has no scale")
            tensors[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    computed = fixed_position_tables(network).items()
    tensors |= {name: compute().to(dtype) for name, compute in computed if name not in tensors}
    for name, group in tied_names(network).items():
        if not torch.equal(tensors[name], tensors[group[0]]):
            raise CheckpointMismatch(
                f"{path} holds different values under {name} and {group[0]}, which the network shares"
            )
    network.load_state_dict(tensors, strict=True, assign=True)


def _stored_names(network: nn.Module, path: Path) -> dict[str, str]:
    """The stored name of each tensor that a network reads from a file. Raises as `load_strictly`."""
    read_metadata(path)
    twins, computed = tied_names(network), fixed_position_tables(network)
    with safe_open(path, framework="pt") as file:
        stored = dict.fromkeys(file.keys())
        shapes = {}
        for name in tensor_names(stored):
            rows, *others = file.get_slice(name).get_shape() or [None]
            if name + ROWS in stored:
                (rows,) = file.get_slice(name + ROWS).get_shape()
            shapes[name] = () if rows is None else (rows, *others)
    tensors = network.state_dict().items()
    expected = {name: tuple(tensor.shape) for name, tensor in tensors if name in shapes or name not in computed}
    source = {name: next((twin for twin in (name, *twins.get(name, ())) if twin in shapes), name) for name in expected}
    complaints = []
    if missing := [name for name in expected if source[name] not in shapes]:
        complaints.append(f"missing {', '.join(missing)}")
    if unexpected := sorted(shapes.keys() - expected.keys()):
        complaints.append(f"unexpected {', '.join(unexpected)}")
    reshaped = [
        f"{name} is {shapes[name]} where the network has {shape}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    if reshaped:
        complaints.append(f"of another shape: {', '.join(reshaped)}")
    if complaints:
        raise CheckpointMismatch(f"{path} does not fit its network: {'; '.join(complaints)}")
    return source


class _SkipInitialisation(TorchFunctionMode):
    """Skips the initialisation of parameters, for which torch would import its compiler (two seconds)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == init.__name__:
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Networks built inside this context have shapes but no numbers."""
    with torch.device("meta"), _SkipInitialisation():
        yield


def tied_names(network: nn.Module) -> dict[str, list[str]]:
    """For each name of a parameter with several names, all of them."""
    names: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {name: group for group in names.values() if len(group) > 1 for name in group}


def weights_digest(path: Path) -> str:
    """sha256 (64 hex digits) of a file. Raises `WeightsMissing`."""
    try:
        return file_digest(path)
    except FileNotFoundError as error:
        raise WeightsMissing(f"there is no weights file {path}") from error
