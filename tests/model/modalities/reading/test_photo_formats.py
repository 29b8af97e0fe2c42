"""The formats that phones and cameras write: HEIC, AVIF, JPEG XL and RAW, upright and in sRGB."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from anyseek.model.modalities.reading import containers
from anyseek.model.modalities.reading.containers import is_raw, jxl_size
from anyseek.model.modalities.reading.decode import decode
from anyseek.model.modalities.reading.encoded import EncodedFile, FileLimits
from anyseek.model.modalities.reading.errors import (
    BrokenPicture,
    DecodeError,
    FormatNotInstalled,
    NoPreview,
    TooManyPixels,
)
from anyseek.model.modalities.reading.pictures import decoding_version, open_picture, upright_size
from tests.indexer.photos import exif_of_camera, heic, heic_photo, raw
from tests.indexer.pictures import encoded, jpeg, noise

LIMITS = FileLimits()


def rgb(data: bytes, limits: FileLimits = LIMITS) -> np.ndarray:
    return np.asarray(decode("rgb", data, limits, "a"))


def lying(width: int = 120, height: int = 80) -> Image.Image:
    """A picture that lies on its side: red on its left, which is its top when it is upright (orientation 6)."""
    values = np.zeros((height, width, 3), np.uint8)
    values[:, : width // 2] = [250, 10, 10]
    return Image.fromarray(values)


def is_upright(picture: np.ndarray) -> bool:
    top, bottom = picture[5:30].astype(int), picture[-30:-5].astype(int)
    return picture.shape == (120, 80, 3) and top[..., 0].min() > 220 and bottom.max() < 30


def turned() -> Image.Exif:
    """Made anew each time: some encoders take the orientation out of what they are given."""
    return exif_of_camera(orientation=6)


WRITERS: dict[str, Callable[[], bytes]] = {
    "heic": lambda: heic_photo(exif=turned(), picture=lying()),
    "avif": lambda: encoded(lying(), "AVIF", exif=turned()),
    "jpeg": lambda: encoded(lying(), "JPEG", exif=turned()),
    "webp": lambda: encoded(lying(), "WEBP", exif=turned()),
    "png": lambda: encoded(lying(), "PNG", exif=turned()),
    "tiff": lambda: encoded(lying(), "TIFF", exif=turned()),
    "raw": lambda: raw([encoded(lying(), "JPEG")], orientation=6),
    "raw whose preview says so itself": lambda: raw([encoded(lying(), "JPEG", exif=turned())], orientation=1),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_each_format_is_turned_upright_once(kind: str) -> None:
    data = WRITERS[kind]()
    assert is_upright(rgb(data))
    assert upright_size(open_picture(EncodedFile(data, kind))) == (80, 120)


@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_a_damaged_file_of_a_phone_is_broken(kind: str) -> None:
    data = WRITERS[kind]()
    for length in (40, len(data) // 2, len(data) - 40):
        with pytest.raises(BrokenPicture, match="a is a damaged picture"):
            rgb(data[:length])


@pytest.mark.parametrize("kind", ["heic", "avif", "raw"])
def test_pixels_are_counted_before_they_are_decoded(kind: str) -> None:
    data = WRITERS[kind]()
    assert rgb(data, FileLimits(pixels=120 * 80)).shape == (120, 80, 3)
    with pytest.raises(TooManyPixels, match="at most 9,599 are allowed"):
        rgb(data, FileLimits(pixels=120 * 80 - 1))


def test_moving_pictures_give_their_first_frame() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    moving = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=95)
    still = heic(frames[0])
    for data in (moving, still, encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])):
        assert np.abs(rgb(data).astype(int) - [255, 0, 0]).max() <= 6


class TestJpegXl:
    pytest.importorskip("pillow_jxl", reason="JPEG XL is read with the extra jxl")

    def written(self, picture: Image.Image) -> bytes:
        return encoded(picture, "JXL", lossless=True)

    def test_is_read(self) -> None:
        assert np.array_equal(rgb(self.written(lying())), np.asarray(lying()))

    def test_a_packed_jpeg_is_turned_upright(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(encoded(lying(), "JPEG", exif=turned()))
        with Image.open(tmp_path / "a.jpg") as picture:
            packed = encoded(picture, "JXL", lossless_jpeg=True)
        assert is_upright(rgb(packed))

    @pytest.mark.parametrize("size", [(2, 1), (8, 16), (256, 256), (257, 100), (512, 384), (1920, 1080), (9000, 10)])
    def test_its_size_is_known_before_it_is_decoded(self, size: tuple[int, int]) -> None:
        data = self.written(Image.new("RGB", size))
        assert jxl_size(data) == size
        assert open_picture(EncodedFile(data, "a", FileLimits(pixels=size[0] * size[1]))).size == size
        with pytest.raises(TooManyPixels, match=f"{size[0]} x {size[1]} pixels"):
            rgb(data, FileLimits(pixels=size[0] * size[1] - 1))

    def test_a_damaged_one_is_broken(self) -> None:
        data = self.written(noise(1, 100, 100))
        for length in (2, 14, len(data) // 2):
            with pytest.raises(BrokenPicture, match="a is a damaged picture"):
                rgb(data[:length])


def test_without_its_extra_jpeg_xl_is_refused_with_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_register_jxl", lambda: False)
    with pytest.raises(FormatNotInstalled, match=r"a is JPEG XL, which needs pip install 'anyseek\[jxl\]'"):
        rgb(b"\xff\x0a\xfa\x1f\x01\x91\x08\x06\x01\x00")


def test_without_its_package_heif_is_refused_with_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = heic_photo()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    containers._register_heif.cache_clear()
    with pytest.raises(FormatNotInstalled, match="a is HEIF, which needs pip install pillow-heif"):
        rgb(photo)
    containers._register_heif.cache_clear()


class TestRaw:
    def test_the_largest_preview_is_taken(self) -> None:
        small, large = encoded(Image.new("RGB", (40, 30), "red"), "JPEG"), encoded(Image.new("RGB", (90, 60)), "JPEG")
        data = raw([small, large, small])
        assert is_raw(data)
        assert rgb(data).shape == (60, 90, 3)
        assert open_picture(EncodedFile(data, "a")).format == "RAW"

    @pytest.mark.parametrize(
        "start", [b"FUJIFILMCCD-RAW 0201", b"\0\0\0\x18ftypcrx \0\0\0\1", b"IIRO\x08\0\0\0", b"IIU\0\x08\0\0\0"]
    )
    def test_other_makers_files_are_raw_too(self, start: bytes) -> None:
        data = start + bytes(200) + jpeg(1, 70, 50)
        assert rgb(data).shape == (50, 70, 3)

    def test_a_lossless_jpeg_is_the_sensors_numbers_and_no_preview(self) -> None:
        lossless = jpeg(1, 90, 60).replace(b"\xff\xc0", b"\xff\xc3", 1)
        with pytest.raises(NoPreview, match="a is a camera RAW without a JPEG preview"):
            rgb(raw([lossless]))

    def test_a_plain_tiff_is_none(self) -> None:
        assert not is_raw(encoded(noise(1), "TIFF"))
        assert not is_raw(encoded(noise(1), "TIFF", exif=exif_of_camera()))

    def test_a_preview_that_is_cut_off_is_broken(self) -> None:
        whole = raw([jpeg(1, 300, 200)])
        with pytest.raises(BrokenPicture):
            rgb(whole[:4000])

    @settings(max_examples=100)
    @given(st.integers(0, 10**9), st.integers(1, 30))
    def test_damage_never_does_worse_than_a_refusal(self, seed: int, hits: int) -> None:
        data = bytearray(raw([jpeg(1, 60, 40)]))
        random = np.random.default_rng(seed)
        for place in random.integers(0, 400, hits):
            data[place] = random.integers(0, 256)
        with suppress(DecodeError):
            rgb(bytes(data), FileLimits(pixels=1_000_000))


def display_p3() -> bytes:
    """An ICC profile (version 2.1) with the primaries of Display P3 and the gamma 2.2: what wide-gamut phones write."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(round(v * 65536).to_bytes(4, "big", signed=True) for v in values)

    curve = b"curv\0\0\0\0\0\0\0\1" + int(2.2 * 256).to_bytes(2, "big") + b"\0\0"
    text = b"desc\0\0\0\0\0\0\0\x03P3\0" + bytes(78) + b"\0"
    tags = [
        (b"desc", text), (b"cprt", b"text\0\0\0\0none\0\0\0\0"), (b"wtpt", xyz(0.9642, 1.0, 0.8249)),
        (b"rXYZ", xyz(0.51512, 0.24120, -0.00105)), (b"gXYZ", xyz(0.29198, 0.69225, 0.04189)),
        (b"bXYZ", xyz(0.15710, 0.06657, 0.78407)),
        (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve),
    ]  # fmt: skip
    table, body, place = b"", b"", 132 + 12 * len(tags)
    for name, content in tags:
        padded = content + b"\0" * (-len(content) % 4)
        table += name + place.to_bytes(4, "big") + len(content).to_bytes(4, "big")
        body, place = body + padded, place + len(padded)
    head = place.to_bytes(4, "big") + bytes(4) + b"\x02\x10\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return (head + xyz(0.9642, 1.0, 0.8249)[8:]).ljust(128, b"\0") + len(tags).to_bytes(4, "big") + table + body


class TestColours:
    def test_a_wide_gamut_comes_as_srgb(self) -> None:
        muted = Image.new("RGB", (64, 64), (200, 120, 90))
        found = rgb(encoded(muted, "PNG", icc_profile=display_p3()))[5, 5].astype(int)
        # the same colour has a larger red and smaller others in the narrower space
        assert found[0] > 205
        assert found[2] < 88
        assert np.abs(rgb(heic(muted, icc_profile=display_p3()))[5, 5].astype(int) - found).max() <= 4

    def test_srgb_keeps_its_pixels_to_the_bit(self) -> None:
        plain = encoded(noise(3, 64, 48), "PNG")
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        assert np.array_equal(rgb(encoded(noise(3, 64, 48), "PNG", icc_profile=profile)), rgb(plain))
        assert np.array_equal(rgb(plain), np.asarray(noise(3, 64, 48)))

    def test_a_damaged_profile_is_as_none(self) -> None:
        plain = noise(3, 64, 48)
        for profile in (b"x" * 300, display_p3()[:200], b"", display_p3()[:128] + bytes(100)):
            assert np.array_equal(rgb(encoded(plain, "PNG", icc_profile=profile)), np.asarray(plain))

    def test_transparency_outlives_the_conversion(self) -> None:
        clear = Image.new("RGBA", (32, 32), (200, 120, 90, 0))
        assert rgb(encoded(clear, "PNG", icc_profile=display_p3())).min() == 255

    def test_only_what_is_decoded_otherwise_than_before_is_embedded_anew(self) -> None:
        muted = Image.new("RGB", (64, 64), (200, 120, 90))
        files = {
            encoded(muted, "JPEG"): "1",
            encoded(muted, "JPEG", icc_profile=display_p3()): "2",
            encoded(muted.convert("P"), "PNG", icc_profile=display_p3()): "2",
            raw([encoded(muted, "JPEG")]): "2",
        }
        assert {data: decoding_version(open_picture(EncodedFile(data, "a"))) for data in files} == files
