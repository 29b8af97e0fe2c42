"""Telling people how far a target is decoded."""

from model.config import ModalityConfig
from model.generation.run import Observer, Pass
from model.prediction import Progress


def progress_of(modality: str, row: ModalityConfig, steps: int, progress: Progress) -> Observer:
    """Tells `progress` of each of the `steps` of an image, of every token of a sequence; `row` says which it is."""

    def observe(done: Pass) -> None:
        if row.is_image:
            progress(modality, done.step + 1, steps)
        else:
            progress(modality, int(done.positions[0, 0]) + 1, row.max_length)

    return observe
