"""What one `anyseek predict` asks, and who answers: a service, or the model in this process."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyseek.api.client.client import Client
from anyseek.api.commands.predict_output import ProgressLine
from anyseek.api.errors import ApiError, exit_code_of
from anyseek.api.predictions.wire import Input, Predictions
from anyseek.model.compute.devices import split_device
from anyseek.search.errors import BadInput

if TYPE_CHECKING:
    from anyseek.api.predictions.predictor import Predictor
    from anyseek.search.settings import Limits

_WRONG_USAGE = 2
Ask = Callable[[Sequence[Sequence[Input]]], list[Predictions | Exception]]


@dataclass(frozen=True)
class PredictionJob:
    """The targets, the model if one was named, and the options, which hold for all inputs.

    `read_as` has what was said of how inputs are read: `forms` and `box`. `device` is what the model's name said; it
    is no part of `model`, because predictions from any device are recorded as the model's.
    """

    targets: tuple[str, ...]
    model: str | None
    options: Mapping[str, Any]
    read_as: Mapping[str, Any]
    device: str | None = None

    def made_with(self, found: Predictions, inputs: Sequence[str]) -> dict[str, Any]:
        """What `prediction.json` tells of how predictions were made."""
        return {"model": found.model, **self.told(inputs)}

    def told(self, inputs: Sequence[str]) -> dict[str, Any]:
        """The same without the model."""
        how = {"targets": list(self.targets), "options": dict(self.options)}
        return {"inputs": list(inputs), **self.read_as, **how}


def job_of(
    targets: Sequence[str], model: str | None, options: Mapping[str, Any], read_as: Mapping[str, Any]
) -> PredictionJob:
    """A job with `model`, which may say a device, as in `4m-tiny:device=cuda`. Raises `BadDevice`."""
    name, device = (None, None) if model is None else split_device(model)
    return PredictionJob(tuple(targets), name, options, read_as, device)


@contextmanager
def asking(job: PredictionJob) -> Iterator[Ask]:
    """What predicts from several sets of inputs, in their order; one that is wrong gets its error in its place.

    Raises what concerns all of them.
    """
    from anyseek.api.client.connect import predicting_client
    from anyseek.search.settings import DEFAULT_MODEL

    usual, device = split_device(os.environ.get("ANYSEEK_MODEL") or DEFAULT_MODEL)
    if job.model is not None:
        device = job.device
    # A service has a device of its own: whoever says another one means this process.
    with predicting_client(job.model) if device is None else nullcontext() as client:
        if client is not None:
            yield lambda several: [_asked(client, job, inputs) for inputs in several]
            return
    with ProgressLine() as line:
        yield _here(job, line, usual, device)


def _asked(client: Client, job: PredictionJob, inputs: Sequence[Input]) -> Predictions | Exception:
    """A service's answer, or why it refuses these inputs."""
    try:
        return client.predict(inputs, job.targets, job.model, job.options)
    except (ApiError, BadInput) as error:
        if exit_code_of(error) != _WRONG_USAGE:
            raise
        return error


def _predictor(usual: str, device: str | None) -> tuple["Predictor", "Limits"]:
    """What predicts in this process, which computes as the settings say, and the limits of inputs."""
    from anyseek.api.predictions.predictor import Predictor
    from anyseek.model.compute.processors import prepare_process
    from anyseek.search.settings import read_settings

    settings = read_settings()
    prepare_process(settings.threads)
    predictor = Predictor(settings.home, usual, device=device or settings.device, switches=settings.switches)
    return predictor, settings.limits


def _here(job: PredictionJob, line: ProgressLine, usual: str, device: str | None) -> Ask:
    """The model in this process, loaded by the first that is asked; `usual` where the job names none."""
    from anyseek.api.predictions.requests import PredictionRequest, read_request

    predictor, limits = _predictor(usual, device)

    def read(inputs: Sequence[Input]) -> PredictionRequest | BadInput:
        members = {"inputs": inputs, "targets": job.targets, "model": job.model, "options": job.options}
        try:
            return read_request(members, limits)
        except BadInput as error:
            return error

    def ask(several: Sequence[Sequence[Input]]) -> list[Predictions | Exception]:
        outcomes: list[Any] = [read(inputs) for inputs in several]
        places = [place for place, request in enumerate(outcomes) if not isinstance(request, Exception)]
        if places:
            found = predictor.predict_batch([outcomes[place] for place in places], line.show)
            for place, outcome in zip(places, found, strict=True):
                outcomes[place] = outcome
        return outcomes

    return ask
