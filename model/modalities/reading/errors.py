"""Errors of users' files, each with a stable code: those of `DecodeError` say that bytes are not a value of a modality,
those of `InputError` that a file cannot be had.
"""

from anyseek.model.errors import BadInput, LimitExceeded


class DecodeError(BadInput):
    code = "not-decodable"


class EmptyInput(DecodeError):
    code = "empty-input"  # no bytes, or a text of spaces only


class NotAPicture(DecodeError):
    code = "not-a-picture"  # the content is no picture of a known format


class FormatNotInstalled(DecodeError):
    code = "format-not-installed"


class NoPreview(DecodeError):
    code = "no-preview"  # a camera RAW without a JPEG to look at


class BrokenPicture(DecodeError):
    code = "broken-picture"  # a picture's header whose pixels cannot be decoded: truncated or damaged


class TooManyPixels(DecodeError, LimitExceeded):
    code = "too-many-pixels"


class TooManyBytes(DecodeError, LimitExceeded):
    code = "too-many-bytes"


class RequestTooCostly(DecodeError, LimitExceeded):
    code = "limit-exceeded"  # the files of one request together


class TextTooLong(DecodeError, LimitExceeded):
    code = "text-too-long"


class BadText(DecodeError):
    code = "bad-text"  # not UTF-8, or characters that cannot be stored


class BadPalette(DecodeError):
    code = "bad-palette"


class BadMap(DecodeError):
    code = "bad-map"  # a map or an array of the wrong shape or kind


class BadRegion(DecodeError):
    code = "bad-region"  # a box that is not inside its picture, or empty


class UnknownForm(DecodeError):
    code = "unknown-form"  # a convention that the modality does not have


class BadDocument(DecodeError):
    code = "bad-document"  # no JSON, or JSON with other members or numbers than the modality has


class UnknownModality(DecodeError):
    code = "unknown-modality"


class InputError(BadInput):
    code = "input-error"


class InputVanished(InputError):
    code = "input-vanished"


class InputUnreadable(InputError):
    code = "input-unreadable"  # no permission, no regular file, a disk error
