"""Predicts with the models that can, for the service and for a command in its own process."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from anyseek.api.errors import NotReady, TookTooLong
from anyseek.api.predictions.requests import PredictionRequest
from anyseek.api.predictions.wire import Guess, Predicted, PredictedFile, Predictions, Refused
from anyseek.model.compute.devices import CPU, names_device
from anyseek.model.errors import BadInput, DeviceInName, RequestInvalid, UnknownModel, UnsupportedModality
from anyseek.model.fourm.published.names import OWNER, PUBLISHED, Role, predicting_name
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.budget import raise_if_abandoned
from anyseek.model.modalities.values import prediction_files, prediction_to_json
from anyseek.model.predict import predict_samples
from anyseek.model.registry.loading import load_model
from anyseek.model.seam import Model, Prediction, PredictOptions, Progress
from anyseek.search.settings import DEFAULT_MODEL

_BUNDLED, _PUBLISHED = DEFAULT_MODEL, "4M-21_B"
_IN_A_REQUEST = (BadInput, RequestInvalid, UnsupportedModality)  # what is wrong with what is asked


class Predictor:
    """Predicts with one model at a time and keeps it for the next request; safe to use from several threads.

    `device` is where models are loaded.
    `seconds` is the longest that one prediction may take, None for no limit.
    `serving` gives the model that already embeds under the name `default_model`: it also predicts, and is not loaded
    again. Whoever names it without a dtype gets the one that is served.
    """

    def __init__(
        self,
        home: Path,
        default_model: str = DEFAULT_MODEL,
        seconds: float | None = None,
        serving: Callable[[], Model] | None = None,
        device: str = CPU,
    ) -> None:
        self._home, self._device = home, device
        self._default = default_model if network_of(default_model) in predicting_models() else _BUNDLED
        self._serves, self._serving = default_model, serving
        self._seconds = seconds
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._loaded: Model | None = None

    def predict(self, request: PredictionRequest, progress: Progress | None = None) -> Predictions:
        """Predict and render. Targets that the model does not predict are refused, and the others predicted.

        Raises `UnsupportedModality` if all are refused, `UnknownModel`, `DeviceInName`,
        `TookTooLong`, `NotReady` once closed, `RequestAbandoned`, and what `anyseek.model.predict.predict` raises.
        """
        (outcome,) = self.predict_batch([request], progress)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def predict_batch(
        self, requests: Sequence[PredictionRequest], progress: Progress | None = None
    ) -> list[Predictions | Exception]:
        """What each of several requests gives alone, up to rounding, or the error in it.

        All have the same model, targets and options; the model predicts as many together as it can. Raises as
        `predict` does what concerns all of them.
        """
        first = requests[0]
        with self._lock:
            model = self._model(first.model or self._default)
            refused = _refused(model, first.targets)
            targets = [name for name in first.targets if name not in {refusal.modality for refusal in refused}]
            if not targets:
                raise UnsupportedModality("; ".join(refusal.detail for refusal in refused))
            predictions = _predictions_of(model, requests, targets, self._watched(first.options, progress))
        name = predicting_name(model.name)
        return [
            outcome if isinstance(outcome, Exception) else Predictions(name, _rendered_all(request, outcome), refused)
            for request, outcome in zip(requests, predictions, strict=True)
        ]

    def close(self) -> None:
        """Stop a running prediction at its next step; no prediction starts after that."""
        self._closing.set()

    def _model(self, name: str) -> Model:
        if names_device(name):  # where a model runs is for whoever runs it to say
            raise DeviceInName(
                f"a request cannot choose a device, as {name!r} does; ANYSEEK_DEVICE of the service says it"
            )
        wanted = predicting_name(name)
        if network_of(wanted) not in predicting_models():
            raise UnknownModel(
                f"{name!r} is not a model that predicts; those models are {', '.join(predicting_models())}"
            )
        if self._serving is not None and wanted in (network_of(self._serves), predicting_name(self._serves)):
            self._loaded = None
            return self._serving()
        if self._loaded is None or self._loaded.name != wanted:
            self._loaded = None  # two models may not fit into memory
            self._loaded = load_model(wanted, self._home, self._device)
        return self._loaded

    def _watched(self, options: PredictOptions, progress: Progress | None) -> PredictOptions:
        ends = None if self._seconds is None else time.monotonic() + self._seconds

        def watch(what: str, done: int, of: int) -> None:
            raise_if_abandoned()
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
    """The name of a model without its owner and without its options (`anyseek.model.fourm.published.names`)."""
    return embedder.removeprefix(f"{OWNER}/").partition(":")[0]


def predicting_models() -> tuple[str, ...]:
    """The models that predict."""
    return (_BUNDLED, *(row.name for row in PUBLISHED.values() if row.role is Role.NETWORK))


def _refused(model: Model, targets: Sequence[str]) -> tuple[Refused, ...]:
    """The targets that the model does not predict, with another that does and how to get it."""
    from anyseek.model.fourm.codecs import TokenCodec
    from anyseek.model.fourm.published.modalities import FORMS

    refused = []
    for name in targets:
        if name in model.targets:
            continue
        if any(isinstance(form.codec, TokenCodec) for form in FORMS.get(name, ())):
            advice = f"{_PUBLISHED} does: get it with `anyseek models pull {_PUBLISHED}`"
        else:
            advice = f"{_BUNDLED} does" if name.endswith("_global") else "no model does"
        targets_of_model = f"it predicts {', '.join(model.targets)}"
        refused.append(Refused(name, f"the model {model.name} does not predict {name}; {targets_of_model}; {advice}"))
    return tuple(refused)


def _predictions_of(
    model: Model, requests: Sequence[PredictionRequest], targets: Sequence[str], options: PredictOptions
) -> list[dict[str, Prediction] | Exception]:
    """What is predicted for each request, all together; each alone, and the errors, where that fails for one."""
    try:
        return list(predict_samples([each.inputs for each in requests], targets, model=model, options=options))
    except _IN_A_REQUEST as error:
        if len(requests) == 1:
            return [error]
    return [outcome for request in requests for outcome in _predictions_of(model, [request], targets, options)]


def _rendered_all(request: PredictionRequest, predictions: Mapping[str, Prediction]) -> tuple[Predicted, ...]:
    """A request's predictions; those that are drawn on a photo are drawn on its own, or on the predicted one."""
    picture = cast(
        "ByteArray | None", request.inputs.get("rgb", predictions["rgb"].value if "rgb" in predictions else None)
    )
    rendered = []
    for prediction in predictions.values():
        files = tuple(PredictedFile(**vars(file)) for file in prediction_files(prediction, picture))
        predicted = Predicted(prediction.modality, prediction_to_json(prediction), files)
        if (certainty := prediction.certainty) is not None:
            guesses = tuple(Guess(guess.text, guess.probability) for guess in certainty.guesses)
            predicted = replace(predicted, confidence=certainty.confidence, sure=certainty.sure, guesses=guesses)
        rendered.append(predicted)
    return tuple(rendered)
