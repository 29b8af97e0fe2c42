"""The parts of `anyseek.model.openclip.embedder`: names and files, preprocessing, the package."""
