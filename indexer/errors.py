"""Errors of inputs and of their sources, each with a stable code.

BadInput (anyseek.search.errors)
├── DecodeError              (`anyseek.model.modalities.reading.errors`, with all below it)
├── InputError               (the same, with InputVanished and InputUnreadable) a file cannot be read
│   ├── InputUnavailable     a server did not deliver it after several attempts
│   ├── AddressRefused       a URL leads to a private address, or is neither http nor https
│   ├── OutsideFolder        a path or link that leaves the folder
│   └── BadDescription       an invalid sidecar or manifest line
├── BadAttributes            attributes are not JSON, too deep, too long, or use the reserved name `predicted`
├── DuplicateContent         another item has the same content, and the job refuses duplicates
├── BadSource                the kind of the source is unknown
└── ExtraMissing             a needed package is not installed
AnyseekError
├── SourceGone               the source does not exist any more or cannot be listed
├── ModelMismatch            the collection was made with another model than the requested one
├── JobCancelled             the job was cancelled while it ran
└── JobStopped               this process is stopping; another one continues the job
"""

from anyseek.model.modalities.reading.errors import DecodeError as DecodeError
from anyseek.model.modalities.reading.errors import InputError as InputError
from anyseek.model.modalities.reading.errors import InputUnreadable as InputUnreadable
from anyseek.model.modalities.reading.errors import InputVanished as InputVanished
from anyseek.model.modalities.reading.errors import TooManyBytes as TooManyBytes
from anyseek.search.errors import AnyseekError, BadInput, Conflict, NotFound


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
