"""What was understood of a file whose format leaves something open, such as which way a depth map runs."""

from collections.abc import Collection
from dataclasses import dataclass

from anyseek.model.modalities.reading.encoded import Encoded
from anyseek.model.modalities.reading.errors import UnknownForm
from anyseek.model.seam import Value


@dataclass(frozen=True)
class Understood:
    """How one file was read: its `name`, the `form` (convention) it was taken to have, and a sentence with the grounds.

    `sure` is the share of such guesses that are right, from 0.5 to 1; 1 where nothing had to be guessed.
    """

    name: str
    form: str
    sure: float
    sentence: str


@dataclass(frozen=True)
class Reading:
    """A file's value, and what was understood of it; None where a file of that modality leaves nothing open."""

    value: Value
    understood: Understood | None = None


def told_form(file: Encoded, forms: Collection[str]) -> str | None:
    """The form that the file's sender named, None if they named none. Raises `UnknownForm` for one not in `forms`."""
    if file.form is not None and file.form not in forms:
        raise UnknownForm(f"{file.name} has the form {file.form[:40]!r}; the forms are {', '.join(forms)}")
    return file.form
