"""The errors of `model`: those of models, and the root of what a user's input is refused with."""

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
    """Anything that goes wrong in `model`; `code` is stable: it becomes the `type` of HTTP problem details."""

    code: ClassVar[str] = "model-error"


class UnsupportedModality(ModelError):
    code = "unsupported-modality"  # the embedder does not take this modality


class ModalityInvalid(ModelError):
    code = "modality-invalid"  # a modality of one's own is not declared as it should be


class UnknownModel(ModelError):
    code = "unknown-model"


class BadDevice(ModelError):
    code = "bad-device"  # no device of that name, or none on this machine


class DeviceInName(BadDevice):
    """A kind of its own because the request is wrong, and not the service that has no such device."""

    code = "device-in-name"


class PackageMissing(ModelError):
    code = "package-missing"  # the model needs an optional package; says which extra has it


class WeightsMissing(ModelError):
    code = "weights-missing"  # says which command gets them


class WeightsCorrupt(ModelError):
    code = "weights-corrupt"  # a weights file is not what its checksum says


class CheckpointMismatch(ModelError):
    code = "checkpoint-mismatch"  # a checkpoint's tensors are not those of the network


class RequestInvalid(ModelError):
    code = "request-invalid"  # what is asked of a model cannot be done
