"""`python -m model.training.release`: see `model.training.release.release`."""

from model.training.release.release import main

if __name__ == "__main__":
    main()
