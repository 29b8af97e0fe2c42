"""Large and risky pictures are decoded in processes of their own, whose death is the file's and nobody else's."""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.model.modalities.reading.budget import Budget, use_budget
from anyseek.model.modalities.reading.decode import decode, interpret
from anyseek.model.modalities.reading.decoders import DecoderPool, needs_isolation, use_decoders
from anyseek.model.modalities.reading.encoded import DecodedFile, FileLimits
from anyseek.model.modalities.reading.errors import BadMap, BrokenPicture, RequestTooCostly, UnknownForm
from anyseek.model.modalities.registry import Content
from anyseek.model.seam import Regions, Value
from tests.indexer.pictures import encoded

LIMITS = FileLimits()
_PROGRAM = (str(Path(__file__).with_name("crashing_decoder.py")),)


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    found = DecoderPool(1, 200, _PROGRAM)
    yield found
    found.close()


def _plenty(seconds: float = 120) -> Budget:
    return Budget(10**9, seconds)


def _picture(kind: str = "WEBP", mode: str = "RGB") -> bytes:
    rows, columns = np.mgrid[:40, :60]
    return encoded(Image.fromarray((rows * 6 + columns).astype(np.uint8)).convert(mode), kind)


@pytest.mark.parametrize(
    ("modality", "data", "form", "box"),
    [
        ("depth", _picture("TIFF", "L"), None, None),
        ("depth", _picture("TIFF", "L"), "near-bright", None),
        ("normal", encoded(Image.new("RGB", (60, 40), (128, 100, 250)), "TIFF"), None, None),
        ("semseg", _picture("TIFF", "L"), "ids", None),
        ("sketch", _picture(), None, None),
        ("rgb", _picture(), None, (0.0, 0.0, 0.5, 0.5)),
        ("rgb", _picture(), None, None),
    ],
)
def test_values_and_what_is_understood_are_those_of_the_own_process(
    decoders: DecoderPool, modality: str, data: bytes, form: str | None, box: tuple[float, ...] | None
) -> None:
    def readings() -> list[DecodedFile]:
        interpretation = interpret(modality, data, LIMITS, "a", {6: "sky"}, form, box)
        return [interpretation, DecodedFile(decode(modality, data, LIMITS, "a", {6: "sky"}))]

    here = readings()
    with use_budget(_plenty()), use_decoders(decoders):
        there = readings()
    for ours, theirs in zip(here, there, strict=True):
        assert theirs.interpretation == ours.interpretation
        assert getattr(theirs.value, "classes", None) == getattr(ours.value, "classes", None)
        assert _numbers(theirs.value).dtype == _numbers(ours.value).dtype
        assert _numbers(theirs.value).flags.writeable
        np.testing.assert_array_equal(_numbers(theirs.value), _numbers(ours.value))


def test_files_of_queries_go_apart(decoders: DecoderPool) -> None:
    with use_budget(_plenty()), use_decoders(decoders):
        with pytest.raises(BrokenPicture, match="crash is a damaged picture: its decoder was ended by SIGSEGV"):
            interpret("depth", _picture("TIFF", "L"), LIMITS, "crash")
        with pytest.raises(UnknownForm, match="'upside-down'"):
            interpret("depth", _picture("TIFF", "L"), LIMITS, "a", form="upside-down")


def _numbers(value: Value) -> np.ndarray:
    return np.asarray(value.ids if isinstance(value, Regions) else value)


def test_refusals_are_those_of_the_own_process(decoders: DecoderPool) -> None:
    with use_budget(_plenty()), use_decoders(decoders):
        with pytest.raises(BrokenPicture, match="half is a damaged picture"):
            decode("rgb", _picture()[:60], LIMITS, "half")
        with pytest.raises(BadMap, match="colours is a picture in colours"):
            decode("depth", encoded(Image.new("RGB", (60, 40), "red"), "TIFF"), LIMITS, "colours")


def test_a_crash_is_one_bad_input(decoders: DecoderPool) -> None:
    with use_budget(_plenty()), use_decoders(decoders):
        for _ in range(3):
            with pytest.raises(BrokenPicture, match="crash is a damaged picture: its decoder was ended by SIGSEGV"):
                decode("rgb", _picture(), LIMITS, "crash")
        assert decode("rgb", _picture(), LIMITS, "a").shape == (40, 60, 3)


def test_a_process_that_was_killed_while_idle_is_no_picture_s_fault(decoders: DecoderPool) -> None:
    with use_budget(_plenty()), use_decoders(decoders):
        decode("rgb", _picture(), LIMITS, "a")
        for process in decoders._idle:
            process._process.kill()
            process._process.wait()
        decode("rgb", _picture(), LIMITS, "b")


def test_what_takes_too_long_is_killed(decoders: DecoderPool) -> None:
    with use_budget(_plenty(0.5)), use_decoders(decoders), pytest.raises(RequestTooCostly, match=r"more than 0\.5 s"):
        decode("rgb", _picture(), LIMITS, "hang")
    with use_budget(_plenty()), use_decoders(decoders):
        assert decode("rgb", _picture(), LIMITS, "a").shape == (40, 60, 3)


def test_what_takes_too_much_memory_is_refused(decoders: DecoderPool) -> None:
    bomb = encoded(Image.new("RGB", (10_000, 10_000)), "TIFF", compression="tiff_adobe_deflate")
    with use_budget(_plenty()), use_decoders(decoders):
        with pytest.raises(RequestTooCostly, match="bomb takes more than 200 MB of memory"):
            decode("rgb", bomb, LIMITS, "bomb")
        assert decode("rgb", _picture(), LIMITS, "a").shape == (40, 60, 3)


def test_pixels_of_all_files_count_there_too(decoders: DecoderPool) -> None:
    with use_budget(Budget(2 * 40 * 60, 120)), use_decoders(decoders):
        for name in ("a", "b"):
            decode("rgb", _picture(), LIMITS, name)
        with pytest.raises(RequestTooCostly, match="c takes 2,400 pixels, and the request has 0 left"):
            decode("rgb", _picture(), LIMITS, "c")


class _Left(Exception):
    """Nobody waits any more."""


class _Awaited(Budget):
    """Somebody waits until `left`."""

    left = False

    def check(self) -> None:
        if self.left:
            raise _Left


def test_nobody_decodes_for_a_client_that_has_left(decoders: DecoderPool) -> None:
    budget = _Awaited(10**9, 120)
    timer = threading.Timer(0.3, setattr, (budget, "left", True))
    timer.start()
    with use_budget(budget), use_decoders(decoders):
        with pytest.raises(_Left):
            decode("rgb", _picture(), LIMITS, "hang")
        with pytest.raises(_Left):
            decode("rgb", _picture("PNG"), LIMITS, "a")
    timer.join()


def test_small_plain_pictures_stay() -> None:
    for kind in ("PNG", "JPEG", "GIF", "BMP"):
        assert not needs_isolation(Content.PICTURE, _picture(kind))
    for kind in ("WEBP", "TIFF", "AVIF"):
        assert needs_isolation(Content.PICTURE, _picture(kind))
    assert needs_isolation(Content.PICTURE, encoded(Image.new("1", (4_000, 4_000)), "PNG"))
    array = io.BytesIO()
    np.save(array, np.ones((4, 4)))
    assert not needs_isolation(Content.DEPTH, array.getvalue())
    assert not needs_isolation(Content.TEXT, _picture())


def test_what_else_the_machine_does_goes_first(decoders: DecoderPool) -> None:
    with use_decoders(decoders), use_budget(_plenty()):
        decode("rgb", _picture(), LIMITS, "a")
    (process,) = decoders._idle
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, process._process.pid) == min(own + 10, 19)
