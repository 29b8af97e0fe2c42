"""Any open_clip model as an `Embedder`: pictures, drawings and words in one space, `open_clip`.

Needs the extra `openclip`. A CLIP model encodes pictures and words separately, and so does this embedder. It does not
centre vectors.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from anyseek.model.bridges.vector_prediction import PredictsVectors
from anyseek.model.compute.devices import CPU
from anyseek.model.compute.placement import BATCH, chosen_device, moved, prepared
from anyseek.model.compute.processors import SHARING
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from anyseek.model.files import file_digest
from anyseek.model.openclip.files import CONFIG_FILE, LOCAL_PREFIX, RECORD_FILE, folder_of
from anyseek.model.openclip.package import import_open_clip
from anyseek.model.openclip.preprocess import VERSION, Preprocessing, drawing_input, picture_input
from anyseek.model.seam import EmbeddingSpace, FloatArray, Fusion, Sample, check_taken

SPACE = "open_clip"

_BATCH_ON_CARD = 128
_TOKENIZER_SUFFIXES = (".json", ".txt", ".model")


class OpenCLIPEmbedder(PredictsVectors):
    """Implements `anyseek.model.seam.Model` with a model of open_clip; safe to use from several threads.

    `network` is any of open_clip's (`CLIP`, `CustomTextCLIP`, `CoCa`) whose vectors have `dimension` entries, and
    `tokenizer` turns texts into int64 (B, context length).
    """

    modalities = frozenset({"rgb", "caption", "canny_edge"})
    fusion = Fusion.LATE

    def __init__(
        self,
        name: str,
        fingerprint: str,
        dimension: int,
        network: Any,
        tokenizer: Callable[[list[str]], Tensor],
        preprocessing: Preprocessing,
    ) -> None:
        self.name, self.fingerprint = name, fingerprint
        prior = np.zeros(dimension, np.float32)
        self.spaces: Mapping[str, EmbeddingSpace] = {SPACE: EmbeddingSpace(SPACE, dimension, fingerprint, prior)}
        self._network, self._tokenizer, self._preprocessing = network.eval(), tokenizer, preprocessing
        self._tokenizing = threading.Lock()  # fast tokenizers of transformers fail with "Already borrowed" otherwise
        self._device = next(self._network.parameters()).device
        self._batch = BATCH if self._device.type == CPU else _BATCH_ON_CARD

    def default_space(self, modality: str) -> str:
        """`open_clip`, the only space. Raises `UnsupportedModality`."""
        check_taken(self, [modality])
        return SPACE

    @SHARING.a_pass()
    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed`. A sample with several modalities gets the normalised sum of their unit vectors."""
        for space in spaces:
            self.spaces[space]
        for sample in samples:
            check_taken(self, sample.values)
        made = [torch.zeros(0, self.spaces[SPACE].dimension, device=self._device)]  # fetched once all is there
        for start in range(0, len(samples) if spaces else 0, self._batch):
            with torch.inference_mode():
                made.append(self._forward(samples[start : start + self._batch]))
        vectors = torch.cat(made).cpu().numpy()
        return {space: vectors.copy() for space in spaces}

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """The vectors of `embed`: this space has no other extractor."""
        return self.embed(samples, spaces)

    def _forward(self, samples: Sequence[Sample]) -> Tensor:
        """Unit vectors of a batch of samples, float32 (B, dimension)."""
        total = torch.zeros(len(samples), self.spaces[SPACE].dimension, device=self._device)
        encoders = {"caption": self._texts, "canny_edge": self._drawings, "rgb": self._pictures}
        for modality, encode in encoders.items():
            present = [n for n, sample in enumerate(samples) if modality in sample.values]
            if present:
                vectors = encode([samples[n].values[modality] for n in present])
                total.index_add_(0, moved(torch.tensor(present), self._device), F.normalize(vectors.float(), dim=1))
        return F.normalize(total, dim=1)

    def _texts(self, texts: list[Any]) -> Tensor:
        with self._tokenizing:
            tokens = self._tokenizer(texts)
        return cast(Tensor, self._network.encode_text(moved(tokens, self._device)))

    def _pictures(self, pictures: list[Any]) -> Tensor:
        return self._pixels(
            prepared(lambda picture: picture_input(picture, self._preprocessing), pictures, self._device)
        )

    def _drawings(self, drawings: list[Any]) -> Tensor:
        return self._pixels(
            prepared(lambda drawing: drawing_input(drawing, self._preprocessing), drawings, self._device)
        )

    def _pixels(self, inputs: list[FloatArray]) -> Tensor:
        return cast(Tensor, self._network.encode_image(moved(torch.from_numpy(np.stack(inputs)), self._device)))


def load_openclip_embedder(name: str, home: Path, device: str = CPU) -> OpenCLIPEmbedder:
    """The model `openclip:ARCH/PRETRAINED` pulled below `home`, or the one in the folder `openclip:local-dir:PATH`.

    It is on `device`, one that `anyseek.model.compute.devices` offers. Raises `BadDevice`, `UnknownModel`,
    `PackageMissing`, `WeightsMissing`, `WeightsCorrupt` and `CheckpointMismatch`.
    """
    folder, where = folder_of(name, home), chosen_device(device)
    open_clip = import_open_clip()
    _check_files(name, folder)
    source = f"local-dir:{folder}"
    try:
        network = open_clip.create_model(source, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(source)
        dimension = int(open_clip.get_model_config(source)["embed_dim"])
        preprocessing = Preprocessing.from_config(network.visual.preprocess_cfg)
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
