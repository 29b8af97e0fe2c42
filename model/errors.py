"""What `model` raises: the errors of every model here, and the root of what a user's input is refused with.

AnyseekError                 the tree goes on in `anyseek.search.errors`, `anyseek.indexer.errors` and
`anyseek.api.errors` └── BadInput                 what the user sent cannot be understood
    ├── LimitExceeded        more bytes, pixels, parts or hits than allowed
    ├── DecodeError          (`anyseek.model.modalities.reading.errors`) these bytes are not a value of that modality
    └── InputError           (`anyseek.model.modalities.reading.errors`) a file that cannot be had
"""

from typing import ClassVar


class AnyseekError(Exception):
    """A refusal in one sentence: names the input, what is wrong with it, and what would be right."""

    code: ClassVar[str] = "error"


class BadInput(AnyseekError):
    """A query, file or option that cannot be understood."""

    code = "bad-input"


class LimitExceeded(BadInput):
    code = "limit-exceeded"


class ModelError(Exception):
    """Anything that goes wrong in `model`.

    ModelError
    ├── UnsupportedModality   the embedder does not take this modality
    ├── UnknownModel          no embedder of that name
    ├── BadDevice             no device of that name, or none on this machine
    │   └── DeviceInName      a model's name says a device where it must not
    ├── PackageMissing        the model needs an optional package; says which extra has it
    ├── WeightsMissing        weights are not there; says which command gets them
    ├── WeightsCorrupt        a weights file is not what its checksum says
    ├── CheckpointMismatch    a checkpoint's tensors are not those of the network
    ├── ModalityInvalid       a modality of one's own is not declared as it should be
    ├── ConfigInvalid         a checkpoint's config does not describe a network (`anyseek.model.network.config`)
    ├── RequestInvalid        what is asked of a model cannot be done
    │   ├── FormatInvalid     a value is not what its modality holds (`anyseek.model.modalities.formats.spans`)
    │   ├── PredictionInvalid inputs, targets and options that do not belong together (`anyseek.model.seam`)
    │   ├── ScheduleInvalid   a plan of decoding that cannot be carried out (`anyseek.model.generation.schedule`)
    │   ├── SamplingInvalid   a temperature or filter outside its range (`anyseek.model.generation.run`)
    │   └── GenerationInvalid a state and a schedule that do not belong together (`anyseek.model.generation.run`)
    ├── DownloadFailed        a file could not be fetched (`anyseek.model.downloads.wheels`)
    ├── DataError             a set of training data is not as it should be (`anyseek.model.data.errors`)
    └── TrainingError         a training run cannot be carried out (`anyseek.model.training.run.errors`)

    `code` is stable: it becomes the `type` of HTTP problem details.
    """

    code: ClassVar[str] = "model-error"


class UnsupportedModality(ModelError):
    code = "unsupported-modality"


class ModalityInvalid(ModelError):
    code = "modality-invalid"


class UnknownModel(ModelError):
    code = "unknown-model"


class BadDevice(ModelError):
    code = "bad-device"


class DeviceInName(BadDevice):
    """A kind of its own because the request is wrong, and not the service that has no such device."""

    code = "device-in-name"


class PackageMissing(ModelError):
    code = "package-missing"


class WeightsMissing(ModelError):
    code = "weights-missing"


class WeightsCorrupt(ModelError):
    code = "weights-corrupt"


class CheckpointMismatch(ModelError):
    code = "checkpoint-mismatch"


class RequestInvalid(ModelError):
    code = "request-invalid"
