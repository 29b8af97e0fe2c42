"""What can be wrong with an input or with the source it came from, each with a stable code.

BadInput (search.errors)
├── DecodeError              these bytes are not a value of that modality
│   ├── EmptyInput           no bytes, or a text of spaces only
│   ├── NotAPicture          the content is no picture of a known format
│   ├── BrokenPicture        a picture's header whose pixels cannot be decoded: truncated or damaged
│   ├── TooManyPixels        (also LimitExceeded)
│   ├── TooManyBytes         (also LimitExceeded)
│   ├── TextTooLong          (also LimitExceeded)
│   ├── BadText              not UTF-8, or characters that cannot be stored
│   ├── BadPalette
│   ├── BadMap               a map or an array of the wrong shape or kind
│   ├── BadDocument          no JSON, or JSON with other members or numbers than the modality has
│   └── UnknownModality
├── InputError               a file that cannot be had
│   ├── InputVanished
│   ├── InputUnreadable      no permission, no regular file, a disk error
│   ├── InputUnavailable     a server that did not give it, however often it was asked
│   ├── AddressRefused       a URL that leads to a private address, or is none of http or https
│   ├── OutsideFolder        a path or link that leaves the folder
│   └── BadDescription       a sidecar or a manifest line that cannot be understood
├── BadAttributes            no JSON, too deep or too long
├── DuplicateContent         another item has the same content, which this job was told to refuse
├── BadSource                what was asked to be indexed is no kind of source
└── ExtraMissing             it takes a package that is not installed
AnyseekError
├── SourceGone               the source itself is gone or cannot be listed
├── ModelMismatch            the collection was made with another model than the one asked for
├── JobCancelled             somebody cancelled the job while it ran
└── JobStopped               this process stops; another one goes on with the job
"""

from search.errors import AnyseekError, BadInput, Conflict, LimitExceeded, NotFound


class DecodeError(BadInput):
    code = "not-decodable"


class EmptyInput(DecodeError):
    code = "empty-input"


class NotAPicture(DecodeError):
    code = "not-a-picture"


class BrokenPicture(DecodeError):
    code = "broken-picture"


class TooManyPixels(DecodeError, LimitExceeded):
    code = "too-many-pixels"


class TooManyBytes(DecodeError, LimitExceeded):
    code = "too-many-bytes"


class TextTooLong(DecodeError, LimitExceeded):
    code = "text-too-long"


class BadText(DecodeError):
    code = "bad-text"


class BadPalette(DecodeError):
    code = "bad-palette"


class BadMap(DecodeError):
    code = "bad-map"


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


class OutsideFolder(InputError):
    code = "outside-folder"


class InputUnavailable(InputError):
    code = "input-unavailable"


class AddressRefused(InputError):
    code = "address-refused"


class BadDescription(InputError):
    code = "bad-description"


class BadAttributes(BadInput):
    code = "bad-attributes"


class DuplicateContent(BadInput):
    code = "duplicate-content"


class BadSource(BadInput):
    code = "bad-source"


class ExtraMissing(BadInput):
    code = "extra-missing"


class SourceGone(NotFound):
    code = "source-gone"


class ModelMismatch(Conflict):
    code = "model-mismatch"


class JobCancelled(AnyseekError):
    code = "job-cancelled"


class JobStopped(AnyseekError):
    code = "job-stopped"
