"""Verifying any model: its files, and that it runs."""

from pathlib import Path

import numpy as np

from model.bridges.files import PREFIX as BRIDGE
from model.bridges.files import read_record
from model.encoders.pull import check_encoders
from model.errors import ModelError, UnknownModel
from model.fourm.model import FourMModel
from model.fourm.published.installing import Say
from model.fourm.published.names import OWNER, PUBLISHED, VOCABULARY
from model.fourm.published.verify import try_network, verify_published
from model.loading import load_embedder
from model.modalities.formats.boxes import Box, LabelledBox
from model.modalities.formats.metadata import Metadata
from model.modalities.registry import MODALITIES, Content
from model.openclip.aliases import full_name
from model.openclip.files import PREFIX as OPENCLIP
from model.openclip.pull import changed_files
from model.predict import predict
from model.seam import Embedder, Model, Regions, Sample, Value

_LONGEST_ERROR = 1e-3  # of the length of a unit vector


def verify_model(name: str, home: Path, say: Say) -> list[str]:
    """Check everything that belongs to `name` and run it; returns what is wrong, nothing if all is right.

    `say` gets a line for what is right. Raises `UnknownModel`.
    """
    name = full_name(name)
    if name in (*PUBLISHED, VOCABULARY) or name.startswith(f"{OWNER}/"):
        return verify_published(name, home, say)
    try:
        if name == "encoders":
            return _verify_encoders(home, say)
        changed = _changed(name, home)
        return changed or verify_embedder(load_embedder(name, home), say)
    except UnknownModel:
        raise
    except ModelError as error:
        return [str(error)]


def _changed(name: str, home: Path) -> list[str]:
    """What has changed of an open_clip model, or of the one that a bridge belongs to, since it was pulled."""
    base = read_record(name, home).base if name.startswith(BRIDGE) else name
    if not base.startswith(OPENCLIP):
        return []
    return changed_files(base, home)


def _verify_encoders(home: Path, say: Say) -> list[str]:
    say(f"encoders  right  {check_encoders(home)}")
    return []


def verify_embedder(embedder: Model, say: Say) -> list[str]:
    """Let a model make vectors of every modality that it takes, and everything else that it predicts.

    Returns what is wrong. Raises `CheckpointMismatch` for an output that is no numbers.
    """
    complaints = []
    for modality in sorted(embedder.modalities):
        complaints += _try(embedder, Sample({modality: _TRIALS[MODALITIES[modality].content]}), modality)
    outputs = [] if complaints else _try_outputs(embedder)
    if not complaints:
        takes, predicts = ", ".join(sorted(embedder.modalities)), f"  predicts {', '.join(outputs)}" if outputs else ""
        say(f"{embedder.name}  right  fingerprint {embedder.fingerprint}  takes {takes}{predicts}")
    return complaints


def _try(embedder: Embedder, sample: Sample, modality: str) -> list[str]:
    """What is wrong with the vectors of a sample: each must be one row of its space, of length 1."""
    wrong = []
    for space, rows in embedder.embed([sample], list(embedder.spaces)).items():
        right = rows.shape == (1, embedder.spaces[space].dimension)
        if not right or not abs(float(np.linalg.norm(rows)) - 1) < _LONGEST_ERROR:
            wrong.append(f"{embedder.name} makes no unit vector of {space} from {modality}")
    return wrong


def _try_outputs(model: Model) -> list[str]:
    """Predict everything that a model predicts beside its vectors; returns what that is.

    Raises `CheckpointMismatch` for an output whose logits are no numbers.
    """
    decoded = sorted(set(model.targets) - model.spaces.keys())
    if isinstance(model, FourMModel):
        try_network(model.name, model.parts.network)
    for name in decoded:
        predict({"rgb": _gradient()}, [name], model=model)
    return decoded


def _gradient() -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    ramp = np.arange(64, dtype=np.uint8) * 4
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=2)


# One value of each kind that embedders with weights take.
_TRIALS: dict[Content, Value] = {
    Content.PICTURE: _gradient(),
    Content.DRAWING: _gradient()[:, :, 0],
    Content.DEPTH: 1 + _gradient()[:, :, 0].astype(np.float32) / 100,
    Content.NORMAL: _gradient(),
    Content.REGIONS: Regions(_gradient()[:, :, 0].astype(np.int64) // 100, {0: "wall", 1: "floor", 2: "chair"}),
    Content.BOXES: (LabelledBox(Box(0.1, 0.2, 0.6, 0.9), "chair"),),
    Content.TEXT: "a red bicycle",
    Content.PALETTE: np.array([[200, 10, 10], [0, 90, 200]], np.uint8),
    Content.METADATA: Metadata({"brightness": 100.0, "contrast": 40.0}),
}
