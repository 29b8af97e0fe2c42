"""`python -m api`: the same as `anyseek`."""

from api.cli import main

main()
