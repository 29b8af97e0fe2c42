"""Predicts with the models that can, for the service and for a command in its own process."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from api.errors import NotReady, TookTooLong
from api.predictions.conversion import PredictionRequest
from api.predictions.wire import Guess, Predicted, PredictedFile, Predictions, Refused
from model.errors import UnknownModel, UnsupportedModality
from model.fourm.published.names import OWNER, PUBLISHED, Role
from model.loading import load_model
from model.modalities.drawings import ByteArray
from model.modalities.values import files_of, members_of
from model.predict import predict
from model.seam import Model, Prediction, PredictOptions, Progress
from search.settings import DEFAULT_MODEL

_BUNDLED, _PUBLISHED = DEFAULT_MODEL, "4M-21_B"


class Predictor:
    """Predicts with one model at a time and keeps it for the next request; safe to use from several threads.

    `seconds` is the longest that one prediction may take, None for no limit. `serving` gives the model that already
    embeds under the name `default_model`: it also predicts, and is not loaded again.
    """

    def __init__(
        self,
        home: Path,
        default_model: str = DEFAULT_MODEL,
        seconds: float | None = None,
        serving: Callable[[], Model] | None = None,
    ) -> None:
        self._home = home
        network = network_of(default_model)
        self._default = network if network in predicting_models() else _BUNDLED
        self._serves, self._serving = network, serving
        self._seconds = seconds
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._held: Model | None = None

    def predict(self, request: PredictionRequest, progress: Progress | None = None) -> Predictions:
        """Predict and render. Targets that the model does not predict are refused, and the others predicted.

        Raises `UnsupportedModality` if all are refused, `UnknownModel`, `TookTooLong`, `NotReady` once closed, and
        what `model.predict.predict` raises.
        """
        with self._lock:
            model = self._model((request.model or self._default).removeprefix(f"{OWNER}/"))
            refused = _refused(model, request.targets)
            targets = [name for name in request.targets if name not in {refusal.modality for refusal in refused}]
            if not targets:
                raise UnsupportedModality("; ".join(refusal.detail for refusal in refused))
            options = self._watched(request.options, progress)
            found = predict(request.inputs, targets, model=model, options=options)
        picture = cast("ByteArray | None", request.inputs.get("rgb", found["rgb"].value if "rgb" in found else None))
        return Predictions(network_of(model.name), tuple(_rendered(found[name], picture) for name in targets), refused)

    def close(self) -> None:
        """Stop a running prediction at its next step; no prediction starts after that."""
        self._closing.set()

    def _model(self, name: str) -> Model:
        if name not in predicting_models():
            raise UnknownModel(
                f"{name!r} is not a model that predicts; those models are {', '.join(predicting_models())}"
            )
        if self._serving is not None and name == self._serves:
            self._held = None
            return self._serving()
        if self._held is None or self._held.name != name:
            self._held = None  # two models may not fit into memory
            self._held = load_model(name, self._home)
        return self._held

    def _watched(self, options: PredictOptions, progress: Progress | None) -> PredictOptions:
        ends = None if self._seconds is None else time.monotonic() + self._seconds

        def watch(what: str, done: int, of: int) -> None:
            if self._closing.is_set():
                raise NotReady("the service is stopping")
            if ends is not None and time.monotonic() > ends:
                raise TookTooLong(
                    f"the prediction was stopped while predicting {what}, after {self._seconds:g} s; ask for fewer "
                    "steps"
                )
            if progress is not None:
                progress(what, done, of)

        return replace(options, progress=watch)


def network_of(embedder: str) -> str:
    """The name of a model without its owner and without its options (`model.fourm.published.options`)."""
    return embedder.removeprefix(f"{OWNER}/").partition(":")[0]


def predicting_models() -> tuple[str, ...]:
    """The models that predict."""
    return (_BUNDLED, *(row.name for row in PUBLISHED.values() if row.role is Role.NETWORK))


def _refused(model: Model, targets: Sequence[str]) -> tuple[Refused, ...]:
    said = f"it predicts {', '.join(model.targets)}"
    return tuple(
        Refused(name, f"the model {model.name} does not predict {name}; {said}{_advice(name)}")
        for name in targets
        if name not in model.targets
    )


def _advice(target: str) -> str:
    """Which other model predicts `target`, and how to get it."""
    from model.fourm.codecs import TokenCodec
    from model.fourm.published.modalities import FORMS

    if any(isinstance(form.codec, TokenCodec) for form in FORMS.get(target, ())):
        return f"; {_PUBLISHED} does: get it with `anyseek models pull {_PUBLISHED}`"
    return f"; {_BUNDLED} does" if target.endswith("_global") else "; no model does"


def _rendered(prediction: Prediction, picture: ByteArray | None) -> Predicted:
    files = [PredictedFile(file.name, file.media_type, file.data) for file in files_of(prediction, picture)]
    predicted = Predicted(prediction.modality, members_of(prediction), tuple(files))
    certainty = prediction.certainty
    if certainty is None:
        return predicted
    guesses = tuple(Guess(guess.text, guess.probability) for guess in certainty.guesses)
    return replace(predicted, confidence=certainty.confidence, sure=certainty.sure, guesses=guesses)
