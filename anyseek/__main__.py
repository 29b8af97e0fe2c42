"""`python -m anyseek`: the same as `anyseek`."""

from anyseek.api.cli import main

main()
