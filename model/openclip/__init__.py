"""The parts of `model.openclip.embedder`: names and files, preprocessing, the package."""
