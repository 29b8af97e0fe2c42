"""What an error at the top of a command ends in. Imported only when there is one."""

from api.client import ApiError
from model.errors import ModelError, RequestInvalid, UnknownModel, UnsupportedModality
from search.errors import AnyseekError, BadInput

FAILED, WRONG_USAGE = 1, 2
_REFUSED_INPUT = (400, 413, 422)


def exit_code_of(error: Exception) -> int | None:
    """The exit code of an expected error; None for a bug, which deserves its traceback."""
    if isinstance(error, ApiError):
        return WRONG_USAGE if error.status in _REFUSED_INPUT else FAILED
    if isinstance(error, BadInput | UnsupportedModality | UnknownModel | RequestInvalid):
        return WRONG_USAGE
    return FAILED if isinstance(error, AnyseekError | ModelError | OSError) else None
