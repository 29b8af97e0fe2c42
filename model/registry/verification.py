"""Verifying any model: its files, and that it runs."""

from pathlib import Path

import numpy as np
from torch import nn

from anyseek.model.bridges.files import PREFIX as BRIDGE
from anyseek.model.bridges.files import read_record
from anyseek.model.checkpoints.files import load_fourm, load_tokenizer
from anyseek.model.compute.devices import CPU, MIN_COSINE, split_device
from anyseek.model.compute.placement import resolve_device
from anyseek.model.encoders.pull import check_encoders, encoder_set
from anyseek.model.errors import BadDevice, CheckpointMismatch, ModelError, UnknownModel, WeightsCorrupt
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published.names import (
    OWNER,
    PUBLISHED,
    VOCABULARY,
    Role,
    is_published,
    parse_name,
    published,
    with_dependencies,
)
from anyseek.model.fourm.published.store import MODEL_FILE, VOCABULARY_FILE, Record, Say, folder_of, installed
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.openclip.files import PREFIX as OPENCLIP
from anyseek.model.openclip.files import full_name
from anyseek.model.openclip.pull import changed_files
from anyseek.model.predict import predict
from anyseek.model.registry.installed import ENCODER_SETS
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import Embedder, Model, Regions, Sample, Value
from anyseek.model.tokenizers.text import TextTokenizer

_MAX_LENGTH_ERROR = 1e-3  # of the length of a unit vector
_WORDS = "a red bicycle"


def verify_model(name: str, home: Path, say: Say, device: str = CPU) -> list[str]:
    """Check everything that belongs to `name` and run it; returns the complaints, none if all is right.

    On another `device` than the CPU a model that embeds is run too, and must have the vectors that it has on the CPU
    (`MIN_COSINE`). `say` gets a line for what is right. Raises `UnknownModel`, `BadDevice`.
    """
    name, own = split_device(name)
    name, device = full_name(name), resolve_device(own or device)
    if is_published(name):  # its owner may precede options too
        name = name.removeprefix(f"{OWNER}/")
    try:
        complaints = _verify_on_cpu(name, home, say)
        embeds = is_published(name) or not (name in ENCODER_SETS or _is_checkpoint(name))
        if complaints or device == CPU or not embeds:
            return complaints
        there = load_embedder(name, home, device)
        return verify_embedder(there, lambda line: None) or _compare(load_embedder(name, home), there, device, say)
    except (BadDevice, UnknownModel):
        raise
    except ModelError as error:
        return [str(error)]


def _is_checkpoint(name: str) -> bool:
    return name in (*PUBLISHED, VOCABULARY) or name.startswith(f"{OWNER}/")


def _verify_on_cpu(name: str, home: Path, say: Say) -> list[str]:
    if _is_checkpoint(name):
        return verify_published(name, home, say)
    if name in ENCODER_SETS:
        say(f"{name}  right  {check_encoders(home, encoder_set(name))}")
        return []
    return _changed_files(name, home) or verify_embedder(load_embedder(name, home), say)


def _compare(here: Embedder, there: Embedder, device: str, say: Say) -> list[str]:
    """The differences of a model's vectors on a device from those of the CPU."""
    if here.fingerprint != there.fingerprint:
        say(f"{there.name}  right on {device}, where its vectors have a fingerprint of their own: {there.fingerprint}")
        return []
    samples = [Sample({name: value}) for name, value in _trials(here).items()]
    spaces = list(here.spaces)
    own, others = here.embed(samples, spaces), there.embed(samples, spaces)
    cosines = {space: float((own[space] * others[space]).sum(axis=1).min()) for space in spaces}
    wrong = [
        f"{here.name} on {device} has other vectors in {space} than on the CPU: their cosine is {cosine:.6f}, "
        f"at least {MIN_COSINE} is right; leave ANYSEEK_DEVICE at cpu for it"
        for space, cosine in cosines.items()
        if not cosine >= MIN_COSINE
    ]
    if not wrong:
        say(f"{here.name}  right on {device}  lowest cosine with the CPU {min(cosines.values()):.6f}")
    return wrong


def verify_published(name: str, home: Path, say: Say) -> list[str]:
    """Check every byte and every tensor of the checkpoint `name`, its tokenizers and the vocabulary.

    Returns the problems found; `say` gets a line for each part without problems. Raises `UnknownModel`.
    """
    complaints = []
    for needed in with_dependencies(name):
        try:
            record = _check_files(needed, home)
            path = folder_of(needed, home)
            if needed == VOCABULARY:
                TextTokenizer.from_file(path / VOCABULARY_FILE)
            else:
                load = load_tokenizer if published(needed).role is Role.TOKENIZER else load_fourm
                _check_finite(needed, load(path / MODEL_FILE))
        except ModelError as error:
            complaints.append(str(error))
        else:
            say(f"{needed}  right  {record.size / 1e6:.1f} MB  fingerprint {record.fingerprint}")
    return complaints


def _check_files(name: str, home: Path) -> Record:
    """Read every byte. Raises `WeightsMissing`, `WeightsCorrupt`."""
    record, folder = installed(name, home), folder_of(name, home)
    for path in record.changed(folder):
        raise WeightsCorrupt(f"{path} is not as when it was installed; remove {folder} and pull {name} again")
    return record


def _check_finite(name: str, network: nn.Module) -> None:
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointMismatch(f"the tensor {key} of {name} holds numbers that are not finite")


def _changed_files(name: str, home: Path) -> list[str]:
    """The files changed since they were pulled, of a published network with options, of an open_clip model, or of the
    one that a bridge belongs to.
    """
    if is_published(name):
        return verify_published(parse_name(name)[0], home, lambda line: None)
    base = read_record(name, home).base if name.startswith(BRIDGE) else name
    return changed_files(base, home) if base.startswith(OPENCLIP) else []


def verify_embedder(embedder: Model, say: Say) -> list[str]:
    """Let a model make vectors of every modality that there is a trial of, and everything else that it predicts.

    Returns what is wrong. Raises `CheckpointMismatch` for an output that is no numbers.
    """
    complaints, trials, outputs = list[str](), _trials(embedder), list[str]()
    for modality, value in trials.items():
        for space, rows in embedder.embed([Sample({modality: value})], list(embedder.spaces)).items():
            right = rows.shape == (1, embedder.spaces[space].dimension)
            if not right or not abs(float(np.linalg.norm(rows)) - 1) < _MAX_LENGTH_ERROR:
                complaints.append(f"{embedder.name} makes no unit vector of {space} from {modality}")
    if not complaints:
        if isinstance(embedder, FourMModel):
            _check_finite(embedder.name, embedder.parts.network)
        outputs = sorted(set(embedder.targets) - embedder.spaces.keys())
        for name in outputs:
            predict({"caption": _WORDS} if name == "rgb" else {"rgb": _gradient()}, [name], model=embedder)
        untried = ", ".join(sorted(embedder.modalities - trials.keys()))
        takes = ", ".join(trials) + (f"  not tried {untried}" if untried else "")
        predicts = f"  predicts {', '.join(outputs)}" if outputs else ""
        say(f"{embedder.name}  right  fingerprint {embedder.fingerprint}  takes {takes}{predicts}")
    return complaints


def _trials(embedder: Embedder) -> dict[str, Value]:
    """A value for each modality of an embedder of whose kind there is a trial."""
    contents = {name: MODALITIES[name].content for name in sorted(embedder.modalities)}
    return {name: _TRIALS[content] for name, content in contents.items() if content in _TRIALS}


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
