"""Where things are and how much is allowed, read from `ANYSEEK_…` in the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model.home import default_home

DEFAULT_MODEL = "4m-tiny"


@dataclass(frozen=True)
class Limits:
    """The most that one input may be; above it the input is refused, never cut."""

    bytes_per_file: int = 64 * 1024 * 1024
    bytes_per_request: int = 128 * 1024 * 1024
    pixels: int = 100_000_000
    text_characters: int = 10_000
    parts: int = 16
    hits: int = 10_000
    queries_per_batch: int = 1_000


@dataclass(frozen=True)
class Settings:
    """One data directory holds everything of an embedded installation; nothing is written outside it."""

    home: Path
    limits: Limits = field(default_factory=Limits)

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.home / 'catalogue.sqlite'}"

    @property
    def assets(self) -> Path:
        return self.home / "assets"

    @property
    def indexes(self) -> Path:
        return self.home / "indexes"

    @property
    def locks(self) -> Path:
        return self.home / "locks"

    @property
    def models(self) -> Path:
        return self.home / "models"

    @property
    def server_record(self) -> Path:
        """Where a running service writes its address, for `anyseek query` to find it."""
        return self.home / "server.json"


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment: `ANYSEEK_HOME` is the data directory, `~/.anyseek` unless set."""
    return Settings(home=default_home(environment))
