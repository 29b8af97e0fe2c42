"""Errors of users' files, each with a stable code.

BadInput (`anyseek.model.errors`)
├── DecodeError              these bytes are not a value of that modality
│   ├── EmptyInput           no bytes, or a text of spaces only
│   ├── NotAPicture          the content is no picture of a known format
│   ├── FormatNotInstalled   a picture of a format whose package is not installed
│   ├── NoPreview            a camera RAW without a JPEG to look at
│   ├── BrokenPicture        a picture's header whose pixels cannot be decoded: truncated or damaged
│   ├── TooManyPixels        (also LimitExceeded)
│   ├── TooManyBytes         (also LimitExceeded)
│   ├── RequestTooCostly     (also LimitExceeded) the files of one request together
│   ├── TextTooLong          (also LimitExceeded)
│   ├── BadText              not UTF-8, or characters that cannot be stored
│   ├── BadPalette
│   ├── BadMap               a map or an array of the wrong shape or kind
│   ├── BadRegion            a box that is not inside its picture, or empty
│   ├── UnknownForm          a convention that the modality does not have
│   ├── BadDocument          no JSON, or JSON with other members or numbers than the modality has
│   └── UnknownModality
└── InputError               a file that cannot be had
    ├── InputVanished
    └── InputUnreadable      no permission, no regular file, a disk error
"""

from anyseek.model.errors import BadInput, LimitExceeded


class DecodeError(BadInput):
    code = "not-decodable"


class EmptyInput(DecodeError):
    code = "empty-input"


class NotAPicture(DecodeError):
    code = "not-a-picture"


class FormatNotInstalled(DecodeError):
    code = "format-not-installed"


class NoPreview(DecodeError):
    code = "no-preview"


class BrokenPicture(DecodeError):
    code = "broken-picture"


class TooManyPixels(DecodeError, LimitExceeded):
    code = "too-many-pixels"


class TooManyBytes(DecodeError, LimitExceeded):
    code = "too-many-bytes"


class RequestTooCostly(DecodeError, LimitExceeded):
    code = "limit-exceeded"


class TextTooLong(DecodeError, LimitExceeded):
    code = "text-too-long"


class BadText(DecodeError):
    code = "bad-text"


class BadPalette(DecodeError):
    code = "bad-palette"


class BadMap(DecodeError):
    code = "bad-map"


class BadRegion(DecodeError):
    code = "bad-region"


class UnknownForm(DecodeError):
    code = "unknown-form"


class BadDocument(DecodeError):
    code = "bad-document"


class UnknownModality(DecodeError):
    code = "unknown-modality"


class InputError(BadInput):
    code = "input-error"


class InputVanished(InputError):
    code = "input-vanished"


class InputUnreadable(InputError):
    code = "input-unreadable"
