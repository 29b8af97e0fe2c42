"""The data directory. Imports nothing, so that a command that asks a service starts at once."""

import os
from collections.abc import Mapping
from pathlib import Path


def default_home(environment: Mapping[str, str] = os.environ) -> Path:
    """The data directory: `ANYSEEK_HOME`, `~/.anyseek` unless set."""
    return Path(environment.get("ANYSEEK_HOME") or "~/.anyseek").expanduser().absolute()
