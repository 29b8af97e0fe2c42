"""Verifying any model: its files, and that it runs."""

from pathlib import Path

import numpy as np

from anyseek.model.bridges.files import PREFIX as BRIDGE
from anyseek.model.bridges.files import read_record
from anyseek.model.compute.devices import CPU, LEAST_COSINE, split_device
from anyseek.model.compute.placement import settled_device
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.errors import BadDevice, ModelError, UnknownModel
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published.installing import Say
from anyseek.model.fourm.published.names import OWNER, PUBLISHED, VOCABULARY
from anyseek.model.fourm.published.options import is_published, parse_name
from anyseek.model.fourm.published.verify import changed_checkpoints, try_network, verify_published
from anyseek.model.library.loading import load_embedder
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.openclip.aliases import full_name
from anyseek.model.openclip.files import PREFIX as OPENCLIP
from anyseek.model.openclip.pull import changed_files
from anyseek.model.predict import predict
from anyseek.model.seam import Embedder, Model, Regions, Sample, Value

_LONGEST_ERROR = 1e-3  # of the length of a unit vector
_WORDS = "a red bicycle"


def verify_model(name: str, home: Path, say: Say, device: str = CPU) -> list[str]:
    """Check everything that belongs to `name` and run it; returns what is wrong, nothing if all is right.

    On another `device` than the CPU a model that embeds is run too, and must have the vectors that it has on the CPU
    (`LEAST_COSINE`). `say` gets a line for what is right. Raises `UnknownModel`, `BadDevice`.
    """
    name, own = split_device(name)
    name, device = _known_as(full_name(name)), settled_device(own or device)
    complaints = _verify_alone(name, home, say)
    embeds = is_published(name) or (name not in (*PUBLISHED, VOCABULARY, "encoders") and not name.startswith(OWNER))
    if complaints or device == CPU or not embeds:
        return complaints
    return _verify_on(device, name, home, say)


def _known_as(name: str) -> str:
    """A published network without its owner, which may precede options too."""
    return name.removeprefix(f"{OWNER}/") if is_published(name) else name


def _verify_on(device: str, name: str, home: Path, say: Say) -> list[str]:
    """What is wrong with a model on a device: that it does not run, or has other vectors than on the CPU.

    Raises `BadDevice` for a device that is not there.
    """
    try:
        there = load_embedder(name, home, device)
        wrong = verify_embedder(there, lambda line: None)
        return wrong or _compare(load_embedder(name, home), there, device, say)
    except (BadDevice, UnknownModel):
        raise
    except ModelError as error:
        return [f"on {device}: {error}"]


def _compare(here: Embedder, there: Embedder, device: str, say: Say) -> list[str]:
    """What is wrong with a model's vectors on a device, beside those of the CPU."""
    if here.fingerprint != there.fingerprint:
        say(f"{there.name}  right on {device}, where its vectors have a fingerprint of their own: {there.fingerprint}")
        return []
    samples = [Sample({name: _TRIALS[MODALITIES[name].content]}) for name in _tried(here)]
    spaces = list(here.spaces)
    of_here, of_there = here.embed(samples, spaces), there.embed(samples, spaces)
    cosines = {space: float((of_here[space] * of_there[space]).sum(axis=1).min()) for space in spaces}
    wrong = [
        f"{here.name} on {device} has other vectors in {space} than on the CPU: their cosine is {cosine:.6f}, "
        f"at least {LEAST_COSINE} is right; leave ANYSEEK_DEVICE at cpu for it"
        for space, cosine in cosines.items()
        if not cosine >= LEAST_COSINE
    ]
    if not wrong:
        say(f"{here.name}  right on {device}  lowest cosine with the CPU {min(cosines.values()):.6f}")
    return wrong


def _tried(embedder: Embedder) -> list[str]:
    """The modalities of an embedder of whose kind there is a trial."""
    return [name for name in sorted(embedder.modalities) if MODALITIES[name].content in _TRIALS]


def _verify_alone(name: str, home: Path, say: Say) -> list[str]:
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
    """What has changed since it was pulled of a published network with options, of an open_clip model, or of the one
    that a bridge belongs to.
    """
    if is_published(name):
        return changed_checkpoints(parse_name(name)[0], home)
    base = read_record(name, home).base if name.startswith(BRIDGE) else name
    if not base.startswith(OPENCLIP):
        return []
    return changed_files(base, home)


def _verify_encoders(home: Path, say: Say) -> list[str]:
    say(f"encoders  right  {check_encoders(home)}")
    return []


def verify_embedder(embedder: Model, say: Say) -> list[str]:
    """Let a model make vectors of every modality that there is a trial of, and everything else that it predicts.

    Returns what is wrong. Raises `CheckpointMismatch` for an output that is no numbers.
    """
    complaints, tried = [], _tried(embedder)
    for modality in tried:
        complaints += _try(embedder, Sample({modality: _TRIALS[MODALITIES[modality].content]}), modality)
    outputs = [] if complaints else _try_outputs(embedder)
    if not complaints:
        untried = ", ".join(sorted(embedder.modalities - set(tried)))
        takes = ", ".join(tried) + (f"  not tried {untried}" if untried else "")
        predicts = f"  predicts {', '.join(outputs)}" if outputs else ""
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
        seen = {"caption": _WORDS} if name == "rgb" else {"rgb": _gradient()}
        predict(seen, [name], model=model)
    return decoded


def _gradient() -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    ramp = np.arange(64, dtype=np.uint8) * 4
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=2)


# One value of each kind that embedders with weights take, except for maps and vectors of other networks.
_TRIALS: dict[Content, Value] = {
    Content.PICTURE: _gradient(),
    Content.DRAWING: _gradient()[:, :, 0],
    Content.DEPTH: 1 + _gradient()[:, :, 0].astype(np.float32) / 100,
    Content.NORMAL: _gradient(),
    Content.REGIONS: Regions(_gradient()[:, :, 0].astype(np.int64) // 100, {0: "wall", 1: "floor", 2: "chair"}),
    Content.BOXES: (LabelledBox(Box(0.1, 0.2, 0.6, 0.9), "chair"),),
    Content.TEXT: _WORDS,
    Content.PALETTE: np.array([[200, 10, 10], [0, 90, 200]], np.uint8),
    Content.METADATA: Metadata({"brightness": 100.0, "contrast": 40.0}),
}
