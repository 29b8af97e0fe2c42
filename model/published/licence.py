"""The licence of the published weights: what is said of it, and that it was accepted. Imports no torch."""

from datetime import UTC, datetime
from pathlib import Path

from model.published.names import LICENCE, OWNER

LICENCE_NOTICE = (
    f"The published 4M weights have a {LICENCE} licence of their own, apart from the Apache-2.0 of the code; "
    f"read it at https://huggingface.co/{OWNER} before you use them."
)
_ACCEPTED = "licence-of-4m-weights"  # a file in `models/`, there once the licence was accepted


def is_accepted(home: Path) -> bool:
    """Whether somebody using `home` accepted the licence before."""
    return (home / "models" / _ACCEPTED).exists()


def accept(home: Path) -> None:
    """Remember that the licence was accepted, and when."""
    (home / "models").mkdir(parents=True, exist_ok=True)
    (home / "models" / _ACCEPTED).write_text(f"accepted {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n")
