"""What is predicted, with the models that predict: for the service, and for a command in its own process."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from api.errors import NotReady, TookTooLong
from api.prediction_requests import PredictionRequest
from api.prediction_wire import Predicted, PredictedFile, Predictions, Refused
from model.drawing import ByteArray
from model.errors import UnknownModel, UnsupportedModality
from model.predict import load_predictor, predict, predicted_modalities
from model.prediction import Prediction, PredictOptions, Progress
from model.published.names import OWNER, PUBLISHED, Role
from model.rendering.files import files_of, members_of
from search.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from model.embedder import Embedder
    from model.published.model import PublishedModel

_BUNDLED, _PUBLISHED = DEFAULT_MODEL, "4M-21_B"


class Predictor:
    """Predicts with one model at a time and keeps it for the next request; safe to use from several threads.

    `seconds` is the longest that one prediction may take, None for as long as it does.
    """

    def __init__(self, home: Path, default_model: str = DEFAULT_MODEL, seconds: float | None = None) -> None:
        self._home = home
        network = network_of(default_model)
        self._default = network if network in predicting_models() else _BUNDLED
        self._seconds = seconds
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._held: PublishedModel | Embedder | None = None

    def predict(self, request: PredictionRequest, progress: Progress | None = None) -> Predictions:
        """Predict and render. A target that the model does not predict is refused, the others are predicted.

        Raises `UnsupportedModality` where all are refused, `UnknownModel`, `TookTooLong`, `NotReady` once closed, and
        what `model.predict.predict` raises.
        """
        with self._lock:
            model = self._model((request.model or self._default).removeprefix(f"{OWNER}/"))
            refused = _refused(model, request.targets)
            targets = [name for name in request.targets if name not in {one.modality for one in refused}]
            if not targets:
                raise UnsupportedModality("; ".join(one.detail for one in refused))
            options = self._watched(request.options, progress)
            found = predict(request.inputs, targets, model=model, options=options)
        picture = cast("ByteArray | None", request.inputs.get("rgb", found["rgb"].value if "rgb" in found else None))
        return Predictions(model.name, tuple(_rendered(found[name], picture) for name in targets), refused)

    def close(self) -> None:
        """Stop what is being predicted at its next step; nothing is predicted after that."""
        self._closing.set()

    def _model(self, name: str) -> "PublishedModel | Embedder":
        if name not in predicting_models():
            raise UnknownModel(f"no model that predicts is called {name!r}; there are {', '.join(predicting_models())}")
        if self._held is None or self._held.name != name:
            self._held = None  # two of them may not fit into memory
            self._held = load_predictor(name, self._home)
        return self._held

    def _watched(self, options: PredictOptions, progress: Progress | None) -> PredictOptions:
        ends = None if self._seconds is None else time.monotonic() + self._seconds

        def watch(what: str, done: int, of: int) -> None:
            if self._closing.is_set():
                raise NotReady("the service is stopping")
            if ends is not None and time.monotonic() > ends:
                raise TookTooLong(
                    f"the prediction was stopped at {what} after {self._seconds:g} s; ask for fewer steps"
                )
            if progress is not None:
                progress(what, done, of)

        return replace(options, progress=watch)


def network_of(embedder: str) -> str:
    """The name of a model without its owner, and without what `model.published.embedder_options` adds to it."""
    return embedder.removeprefix(f"{OWNER}/").partition(":")[0]


def predicting_models() -> tuple[str, ...]:
    """The models that predict."""
    return (_BUNDLED, *(row.name for row in PUBLISHED.values() if row.role is Role.NETWORK))


def _refused(model: "PublishedModel | Embedder", targets: Sequence[str]) -> tuple[Refused, ...]:
    known = predicted_modalities(model)
    said = f"it predicts {', '.join(known)}"
    return tuple(
        Refused(name, f"the model {model.name} does not predict {name}; {said}{_advice(name)}")
        for name in targets
        if name not in known
    )


def _advice(target: str) -> str:
    """Which other model predicts `target`, and how to get it."""
    from model.published.codecs import TokenCodec
    from model.published.modalities import FORMS

    if any(isinstance(form.codec, TokenCodec) for form in FORMS.get(target, ())):
        return f"; {_PUBLISHED} does: get it with `anyseek models pull {_PUBLISHED}`"
    return f"; {_BUNDLED} does" if target.endswith("_global") else "; no model does"


def _rendered(prediction: Prediction, picture: ByteArray | None) -> Predicted:
    files = [PredictedFile(file.name, file.media_type, file.data) for file in files_of(prediction, picture)]
    return Predicted(prediction.modality, members_of(prediction), tuple(files))
