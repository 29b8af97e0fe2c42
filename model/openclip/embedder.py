"""Any open_clip model as an `Embedder`: pictures, drawings and words in one space, `open_clip`.

Needs the extra `openclip`. A CLIP model encodes pictures and words separately, and so does this embedder. It does not
centre vectors.
"""

import hashlib
import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, library

from anyseek.model.compute.devices import CPU
from anyseek.model.compute.placement import batch_size_on, torch_device
from anyseek.model.compute.threads import SHARING
from anyseek.model.errors import CheckpointMismatch, PackageMissing, WeightsCorrupt, WeightsMissing
from anyseek.model.files import file_digest
from anyseek.model.modalities.drawings import ByteArray, crop_to_ink, ink, ink_to_picture, square
from anyseek.model.openclip.files import CONFIG_FILE, LOCAL_PREFIX, RECORD_FILE, folder_of, is_installed
from anyseek.model.seam import FloatArray, Sample
from anyseek.model.single_space import SingleSpaceEmbedder

VERSION = "1"  # of preprocessing, part of every fingerprint: raise it whenever a value changes
_MAX_ASPECT_RATIO = 32  # times as long as wide: of what is cropped anyway, more would only fill the memory


class Preprocessing:
    """open_clip's own transform of pictures. `str()` of it is part of fingerprints."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` is the `preprocess_cfg` of a model. Raises `TypeError` and `ValueError` for one that cannot be."""
        from open_clip.transform import PreprocessCfg, image_transform_v2

        values = PreprocessCfg(**config)
        interpolation = "bicubic" if values.interpolation == "random" else values.interpolation
        if values.resize_mode not in ("shortest", "longest", "squash") or interpolation not in ("bicubic", "bilinear"):
            raise ValueError(f"resize mode {values.resize_mode!r} or interpolation {interpolation!r} is unknown")
        size = values.size
        self.height: int = size if isinstance(size, int) else size[0]
        self.width: int = size if isinstance(size, int) else size[1]
        self._transform, self._crops = image_transform_v2(values, is_train=False), values.resize_mode != "squash"
        self._description = (
            f"Preprocessing(height={self.height}, width={self.width}, mean={_channels(values.mean)}, "
            f"deviation={_channels(values.std)}, interpolation={interpolation!r}, "
            f"resize_mode={values.resize_mode!r}, fill={values.fill_color!r})"
        )

    def __str__(self) -> str:
        return self._description

    def picture(self, picture: ByteArray) -> Tensor:
        """uint8 (H, W, 3) of any size -> float32 (3, height, width); of slivers the middle."""
        if self._crops:
            most = _MAX_ASPECT_RATIO * min(picture.shape[:2])
            top, left = (max(side - most, 0) // 2 for side in picture.shape[:2])
            picture = picture[top : top + most, left : left + most]
        return cast(Tensor, self._transform(Image.fromarray(picture)))

    def drawing(self, drawing: ByteArray) -> Tensor:
        """A drawing uint8 (H, W) of any polarity, as black ink on white paper that nothing is cropped from."""
        return self.picture(square(ink_to_picture(crop_to_ink(ink(drawing))), max(self.height, self.width), 255))


def _channels(value: float | Sequence[float]) -> tuple[float, ...]:
    """One number for all three channels, or three."""
    return (float(value),) * 3 if isinstance(value, int | float) else tuple(map(float, value))


_MISSING = ("nms", "qnms")  # operators that torchvision describes whether its library has registered them or not
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_open_clip() -> ModuleType:
    """The module `open_clip`. Raises `PackageMissing`."""
    if not is_installed():
        raise PackageMissing("models called openclip:… need the extra openclip; run `pip install 'anyseek[openclip]'`")
    define_missing_operators()
    import open_clip

    module: ModuleType = open_clip
    return module


@cache
def define_missing_operators() -> None:
    """Define `torchvision::nms` and `torchvision::qnms`, without a body, if torchvision's library does not load.

    Its library is built for one version of torch, and without it torchvision cannot be imported.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return
    except RuntimeError:  # operator torchvision::nms does not exist
        for operator in _MISSING:
            library.define(f"torchvision::{operator}", _SIGNATURE)


SPACE = "open_clip"

_TOKENIZER_SUFFIXES = (".json", ".txt", ".model")


class OpenCLIPEmbedder(SingleSpaceEmbedder):
    """A model of open_clip; safe to use from several threads.

    `network` is any of open_clip's (`CLIP`, `CustomTextCLIP`, `CoCa`) whose vectors have `dimension` entries, and
    `tokenizer` turns texts into int64 (B, context length).
    """

    modalities = frozenset({"rgb", "caption", "canny_edge"})

    def __init__(
        self,
        name: str,
        fingerprint: str,
        dimension: int,
        network: Any,
        tokenizer: Callable[[list[str]], Tensor],
        preprocessing: Preprocessing,
    ) -> None:
        super().__init__(name, fingerprint, SPACE, np.zeros(dimension, np.float32))
        self._network, self._tokenizer, self._preprocessing = network.eval(), tokenizer, preprocessing
        self._tokenizer_lock = (
            threading.Lock()
        )  # fast tokenizers of transformers fail with "Already borrowed" otherwise
        self._device = next(self._network.parameters()).device
        self._batch = batch_size_on(self._device)

    @SHARING.model_pass()
    def vectors(self, samples: Sequence[Sample]) -> FloatArray:
        """Of a sample with several modalities the normalised sum of their unit vectors."""
        with torch.inference_mode():
            starts = range(0, len(samples), self._batch)
            made = [self._forward(samples[start : start + self._batch]) for start in starts]
            return cast(FloatArray, torch.cat(made).cpu().numpy())

    def _forward(self, samples: Sequence[Sample]) -> Tensor:
        """Unit vectors of a batch of samples, float32 (B, dimension)."""
        total = torch.zeros(len(samples), self.space.dimension, device=self._device)
        encoders: Mapping[str, Callable[[list[Any]], Tensor]] = {
            "caption": self._texts,
            "canny_edge": partial(self._pixels, self._preprocessing.drawing),
            "rgb": partial(self._pixels, self._preprocessing.picture),
        }
        for modality, encode in encoders.items():
            present = [n for n, sample in enumerate(samples) if modality in sample.values]
            if present:
                vectors = encode([samples[n].values[modality] for n in present])
                total.index_add_(0, torch.tensor(present, device=self._device), F.normalize(vectors.float(), dim=1))
        return F.normalize(total, dim=1)

    def _texts(self, texts: list[Any]) -> Tensor:
        with self._tokenizer_lock:
            tokens = self._tokenizer(texts)
        return cast(Tensor, self._network.encode_text(tokens.to(self._device)))

    def _pixels(self, make: Callable[[ByteArray], Tensor], values: list[Any]) -> Tensor:
        pixels = torch.stack([make(value) for value in values])
        return cast(Tensor, self._network.encode_image(pixels.to(self._device)))


def load_openclip_embedder(name: str, home: Path, device: str = CPU) -> OpenCLIPEmbedder:
    """The model `openclip:ARCH/PRETRAINED` pulled below `home`, or the one in the folder `openclip:local-dir:PATH`.

    It is on `device`, one that `anyseek.model.compute.devices` offers. Raises `BadDevice`, `UnknownModel`,
    `PackageMissing`, `WeightsMissing`, `WeightsCorrupt` and `CheckpointMismatch`.
    """
    folder, where = folder_of(name, home), torch_device(device)
    open_clip = import_open_clip()
    _check_files(name, folder)
    source = f"local-dir:{folder}"
    try:
        network = open_clip.create_model(source, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(source)
        dimension = int(open_clip.get_model_config(source)["embed_dim"])
        preprocessing = Preprocessing(network.visual.preprocess_cfg)
    except SafetensorError as error:
        raise WeightsCorrupt(f"the weights in {folder} are not a safetensors file: {error}") from error
    except OSError as error:  # parts that open_clip takes from elsewhere, such as a text tower's own configuration
        raise WeightsMissing(f"the model in {folder} lacks files that it needs: {error}") from error
    except RuntimeError as error:
        raise CheckpointMismatch(f"the weights in {folder} do not fit its {CONFIG_FILE}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsCorrupt(f"open_clip cannot use {folder / CONFIG_FILE}: {error}") from error
    fingerprint = _fingerprint(network, folder, preprocessing)
    return OpenCLIPEmbedder(name, fingerprint, dimension, network.to(where), tokenizer, preprocessing)


def _check_files(name: str, folder: Path) -> None:
    """Raises `WeightsMissing`, saying what to do. Pickled weights do not count."""
    remedy = f"run `anyseek models pull {name}`"
    if name.startswith(LOCAL_PREFIX):
        remedy = "put the files of an open_clip repository there (configuration and safetensors, no pickled weights)"
    for pattern in (CONFIG_FILE, "*.safetensors"):
        if not any(folder.glob(pattern)):
            raise WeightsMissing(f"{folder} holds no {pattern}; {remedy}")


def _fingerprint(network: torch.nn.Module, folder: Path, preprocessing: Preprocessing) -> str:
    """sha256 over every tensor, configuration and tokenizer files, and the preprocessing.

    Taken from what was loaded, at every load (about a second a gigabyte), so that it cannot outlive its files.
    """
    digest = hashlib.sha256(f"openclip {VERSION} {preprocessing}".encode())
    for path in sorted(folder.iterdir()):
        if path.suffix in _TOKENIZER_SUFFIXES and path.name != RECORD_FILE:
            digest.update(f"{path.name} {file_digest(path)}".encode())
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
