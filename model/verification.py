"""Verifying any model: its files, and that it runs. Torch is imported for those that need it."""

from pathlib import Path

import numpy as np

from model.embedder import Embedder, Sample, Value, load_embedder
from model.errors import ModelError, UnknownModel
from model.published.installing import Say
from model.published.names import OWNER, PUBLISHED, VOCABULARY

_LONGEST_ERROR = 1e-3  # of the length of a unit vector


def verify_model(name: str, home: Path, say: Say) -> list[str]:
    """Check everything that belongs to `name` and run it; returns what is wrong, nothing if all is right.

    `say` gets a line for what is right. Raises `UnknownModel`.
    """
    if name in (*PUBLISHED, VOCABULARY) or name.startswith(f"{OWNER}/"):
        from model.published.verify import verify_published

        return verify_published(name, home, say)
    try:
        return _verify_encoders(home, say) if name == "encoders" else _verify_embedder(name, home, say)
    except UnknownModel:
        raise
    except ModelError as error:
        return [str(error)]


def _verify_encoders(home: Path, say: Say) -> list[str]:
    from model.hub import check_encoders

    say(f"encoders  right  {check_encoders(home)}")
    return []


def _verify_embedder(name: str, home: Path, say: Say) -> list[str]:
    embedder = load_embedder(name, home)
    complaints = []
    for modality in sorted(embedder.modalities & _TRIALS.keys()):
        complaints += _try(embedder, Sample({modality: _TRIALS[modality]}), modality)
    if not complaints:
        say(f"{name}  right  fingerprint {embedder.fingerprint}")
    return complaints


def _try(embedder: Embedder, sample: Sample, modality: str) -> list[str]:
    """What is wrong with the vectors of a sample: each must be one row of its space, of length 1."""
    wrong = []
    for space, rows in embedder.embed([sample], list(embedder.spaces)).items():
        right = rows.shape == (1, embedder.spaces[space].dimension)
        if not right or not abs(float(np.linalg.norm(rows)) - 1) < _LONGEST_ERROR:
            wrong.append(f"{embedder.name} makes no unit vector of {space} from {modality}")
    return wrong


def _gradient() -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    ramp = np.arange(64, dtype=np.uint8) * 4
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=2)


# One value of each modality that every embedder with weights takes.
_TRIALS: dict[str, Value] = {"rgb": _gradient(), "caption": "a red bicycle"}
