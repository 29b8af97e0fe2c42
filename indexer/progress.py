"""How far a job is, told to whoever shows it."""

from typing import Protocol


class Progress(Protocol):
    """Told how far a job is, from the thread that runs it."""

    def scanned(self, inputs: int) -> None:
        """So many more inputs were found."""
        ...

    def started(self, inputs: int) -> None:
        """The scan is complete: so many inputs wait."""
        ...

    def settled(self, inputs: int) -> None:
        """So many more inputs are done or quarantined."""
        ...


class Silence:
    """Implements `Progress` for jobs that nobody watches from here: the catalogue has their counts."""

    def scanned(self, inputs: int) -> None: ...

    def started(self, inputs: int) -> None: ...

    def settled(self, inputs: int) -> None: ...
