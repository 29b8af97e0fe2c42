"""JPEG files of many scans, each of which costs their decoder a pass over all pixels."""

import io

import pytest
from PIL import Image

from anyseek.model.data.contents import decode_value
from anyseek.model.data.errors import SampleInvalid
from anyseek.model.modalities.reading.budget import Budget
from anyseek.model.modalities.reading.decoders import needs_isolation
from anyseek.model.modalities.reading.encoded import EncodedFile
from anyseek.model.modalities.reading.errors import BrokenPicture
from anyseek.model.modalities.reading.jpeg_scans import MAX_SCANS, read_scans
from anyseek.model.modalities.reading.pictures import decode_picture
from anyseek.model.modalities.registry import Content
from tests.indexer.photos import raw


def _jpeg(**options: object) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 48), 90).convert("RGB").save(file, "JPEG", **options)
    return file.getvalue()


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times."""
    whole = _jpeg(progressive=True)
    start = whole.rindex(b"\xff\xda")
    return whole[:start] + whole[start:-2] * count + whole[-2:]


@pytest.mark.parametrize(
    ("data", "count", "several"),
    [
        (_jpeg(), 1, False),
        (_jpeg(restart_marker_blocks=1), 1, False),
        (_jpeg(comment=b"\xff\xda" * 500), 1, False),
        (_jpeg(progressive=True), 10, True),
        (with_scans(3_000), MAX_SCANS + 1, True),
        (b"\xff\xd8" + b"\xff\xd8" * 20_000, MAX_SCANS + 1, True),
        (b"\xff\xd8" + b"\xff" * (1 << 22) + b"\x00\xff\xff\xda", 1, False),
        (b"\xff\xd8\xff\xda", 1, False),
        (b"\xff\xd8", 0, False),
    ],
    ids=[
        "plain",
        "restarts",
        "marker in a comment",
        "progressive",
        "attack",
        "markers alone",
        "megabytes of filling",
        "cut off",
        "empty",
    ],
)
def test_scans_are_counted_and_what_has_several_is_decoded_apart(data: bytes, count: int, several: bool) -> None:
    scans = read_scans(data)
    assert (scans.count, scans.is_multi_pass) == (count, several)
    if len(data) > 1_000 and data[2:4] == b"\xff\xe0":
        assert needs_isolation(Content.PICTURE, data) == several


def test_a_shard_with_a_picture_of_too_many_scans_is_refused() -> None:
    assert decode_value("rgb.jpg", with_scans(20)).shape == (48, 64, 3)
    with pytest.raises(SampleInvalid, match=r"rgb\.jpg cannot be read: it is a JPEG of more than 100 scans"):
        decode_value("rgb.jpg", with_scans(3_000))


def test_the_preview_of_a_raw_is_refused_like_the_picture_itself() -> None:
    with pytest.raises(BrokenPicture, match=r"a\.dng is a damaged picture: it has more than 100 scans"):
        decode_picture(EncodedFile(raw([with_scans(3_000)]), "a.dng"))


@pytest.mark.parametrize(("scans", "times"), [(9, 1), (31, 2), (90, 4)])
def test_many_scans_count_as_more_pixels(scans: int, times: int) -> None:
    budget = Budget(10 * 64 * 48, 60)
    decode_picture(EncodedFile(with_scans(scans), "x.jpg", budget=budget))
    assert budget.pixels_left == (10 - times) * 64 * 48
    decode_picture(EncodedFile(raw([with_scans(scans)]), "x.dng", budget=budget))
    assert budget.pixels_left == (10 - 2 * times) * 64 * 48


def test_a_picture_of_too_many_scans_is_refused_before_it_is_decoded() -> None:
    assert decode_picture(EncodedFile(with_scans(20), "twenty.jpg")).shape == (48, 64, 3)
    with pytest.raises(BrokenPicture, match=r"many\.jpg is a damaged picture: it has more than 100 scans"):
        decode_picture(EncodedFile(with_scans(3_000), "many.jpg"))
    assert decode_picture(EncodedFile(_jpeg() + with_scans(3_000), "two.jpg")).shape == (48, 64, 3), (
        "only the first counts"
    )
