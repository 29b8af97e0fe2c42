"""The two encoders of the bundled models, where somebody has pulled them; elsewhere the test that asks is skipped."""

from pathlib import Path

import pytest

from anyseek.model.encoders.pull import encoders_folder
from anyseek.model.home import default_home


def pulled_encoders() -> Path:
    """The folder of the encoders, as `make install` pulls them."""
    folder = encoders_folder(default_home())
    if not folder.is_dir():
        pytest.skip("the encoders are not pulled; make install does")
    return folder


def link_encoders(home: Path) -> None:
    """Give the data directory `home` the pulled encoders, without a copy."""
    pulled = pulled_encoders()
    encoders_folder(home).parent.mkdir(parents=True)
    encoders_folder(home).symlink_to(pulled)
