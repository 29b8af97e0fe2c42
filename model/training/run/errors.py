"""Errors raised by training runs. Imports no torch."""

from anyseek.model.errors import ModelError


class TrainingError(ModelError):
    """Anything that goes wrong in `anyseek.model.training.pretraining`.

    TrainingError
    ├── TrainingConfigInvalid  a config has an unknown or missing key, or a value that is not of its kind
    ├── TrainingDataInvalid    a file of a sample does not fit its modality
    ├── RunConflict            the folder holds a run already, of other settings, or another process trains in it
    ├── TrainingDiverged       the loss is no longer a number
    └── ProcessLost            another process of the same run has ended or does not answer
    """

    code = "training-error"


class TrainingConfigInvalid(TrainingError):
    code = "training-config-invalid"


class TrainingDataInvalid(TrainingError):
    code = "training-data-invalid"


class RunConflict(TrainingError):
    code = "run-conflict"


class TrainingDiverged(TrainingError):
    code = "training-diverged"


class ProcessLost(TrainingError):
    code = "process-lost"
