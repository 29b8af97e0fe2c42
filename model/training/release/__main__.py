"""`python -m anyseek.model.training.release`: see `anyseek.model.training.release.release`."""

from anyseek.model.training.release.release import main

if __name__ == "__main__":
    main()
