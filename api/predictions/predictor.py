"""Prediction for the service, and for commands that load a model in their own process."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from anyseek.api.errors import NotReady, TookTooLong
from anyseek.api.predictions.requests import PredictionRequest
from anyseek.api.predictions.wire import Guess, Predicted, PredictedFile, Predictions, Refused
from anyseek.model.compute.devices import CPU, has_device_option
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
_REQUEST_ERRORS = (BadInput, RequestInvalid, UnsupportedModality)  # errors of a single request


class Predictor:
    """Predicts with one model at a time and caches it for the next request; thread-safe.

    `device` is where models are loaded.
    `seconds` is the time limit of a prediction, None for no limit.
    `serving` returns the loaded model `default_model` that also embeds, so that it is not loaded
    twice. Its name without a dtype means the one that is served.
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
        self._served_name, self._served_model = default_model, serving
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
        """The predictions of each request, as `predict` returns them up to rounding, or its error.

        All have the same model, targets and options; the model predicts as many together as it can. Raises what
        `predict` raises about model, targets and options.
        """
        first = requests[0]
        with self._lock:
            model = self._load(first.model or self._default)
            refused = _refusals(model, first.targets)
            targets = [name for name in first.targets if name not in {refusal.modality for refusal in refused}]
            if not targets:
                raise UnsupportedModality("; ".join(refusal.detail for refusal in refused))
            predictions = _predict_all(model, requests, targets, self._limit_options(first.options, progress))
        name = predicting_name(model.name)
        return [
            outcome if isinstance(outcome, Exception) else Predictions(name, _render(request, outcome), refused)
            for request, outcome in zip(requests, predictions, strict=True)
        ]

    def close(self) -> None:
        """Stop a running prediction at its next step, and refuse further ones."""
        self._closing.set()

    def _load(self, name: str) -> Model:
        if has_device_option(name):  # the operator chooses the device
            raise DeviceInName(f"a request cannot choose a device, as {name!r} does; set ANYSEEK_DEVICE of the service")
        name = predicting_name(name)
        if network_of(name) not in predicting_models():
            raise UnknownModel(f"{name!r} is not a model that predicts; use one of {', '.join(predicting_models())}")
        served = self._served_name
        if self._served_model is not None and name in (network_of(served), predicting_name(served)):
            self._loaded = None
            return self._served_model()
        if self._loaded is None or self._loaded.name != name:
            self._loaded = None  # freed first: two models may not fit into memory
            self._loaded = load_model(name, self._home, self._device)
        return self._loaded

    def _limit_options(self, options: PredictOptions, progress: Progress | None) -> PredictOptions:
        deadline = None if self._seconds is None else time.monotonic() + self._seconds

        def watch(target: str, done: int, total: int) -> None:
            raise_if_abandoned()
            if self._closing.is_set():
                raise NotReady("the service is stopping")
            if deadline is not None and time.monotonic() > deadline:
                raise TookTooLong(
                    f"the prediction was stopped while predicting {target}, after {self._seconds:g} s; ask for fewer "
                    "steps"
                )
            if progress is not None:
                progress(target, done, total)

        return replace(options, progress=watch)


def network_of(embedder: str) -> str:
    """The name of a model without its owner and without its options (`anyseek.model.fourm.published.names`)."""
    return embedder.removeprefix(f"{OWNER}/").partition(":")[0]


def predicting_models() -> tuple[str, ...]:
    """The models that predict."""
    return (_BUNDLED, *(row.name for row in PUBLISHED.values() if row.role is Role.NETWORK))


def _refusals(model: Model, targets: Sequence[str]) -> tuple[Refused, ...]:
    """The targets that the model does not predict, each with the name of a model that does."""
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


def _predict_all(
    model: Model, requests: Sequence[PredictionRequest], targets: Sequence[str], options: PredictOptions
) -> list[dict[str, Prediction] | Exception]:
    """The predictions of each request, in one batch; if that fails, each request runs alone and yields its error."""
    try:
        return list(predict_samples([each.inputs for each in requests], targets, model=model, options=options))
    except _REQUEST_ERRORS as error:
        if len(requests) == 1:
            return [error]
    return [outcome for request in requests for outcome in _predict_all(model, [request], targets, options)]


def _render(request: PredictionRequest, predictions: Mapping[str, Prediction]) -> tuple[Predicted, ...]:
    """A request's predictions with their files; overlays are drawn on its picture, or on the predicted one."""
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
