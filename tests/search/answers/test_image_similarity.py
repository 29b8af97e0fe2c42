"""A picture is like its changed copies, and unlike others, however similar their layout."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from anyseek.model.modalities.drawings import ByteArray
from anyseek.search.answers.image_similarity import image_similarity, image_vectors
from anyseek.search.duplicates import MIN_IMAGE_SIMILARITY


def scene(seed: int, side: int = 160) -> Image.Image:
    """A few boxes at places of their own, on paper of a colour of its own."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), tuple(random.integers(150, 255, 3).tolist()))
    for _ in range(6):
        left, top = random.integers(4, 110, 2).tolist()
        wide, high = random.integers(12, 50, 2).tolist()
        colour = tuple(random.integers(0, 200, 3).tolist())
        ImageDraw.Draw(image).rectangle((left, top, left + wide, top + high), colour)
    return image


def compressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file).convert("RGB")


def alike(one: Image.Image, other: Image.Image) -> float:
    return image_similarity(image_vectors(np.asarray(one)), image_vectors(np.asarray(other)))


CHANGED = {
    "smaller": lambda image: image.resize((70, 70)),
    "stretched": lambda image: image.resize((300, 120)),
    "compressed": compressed,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "with less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "cropped on all sides": lambda image: image.crop((8, 8, 152, 152)),
    "cropped on one side": lambda image: image.crop((16, 0, 160, 160)),
    "cropped at a corner": lambda image: image.crop((0, 32, 128, 160)),
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_changed_copy_is_alike_in_both_directions(change: str) -> None:
    for seed in range(5):
        image = scene(seed)
        assert alike(image, CHANGED[change](image)) >= MIN_IMAGE_SIMILARITY
        assert alike(CHANGED[change](image), image) >= MIN_IMAGE_SIMILARITY


def test_a_picture_is_alike_to_itself_and_not_to_others() -> None:
    scenes = [image_vectors(np.asarray(scene(seed))) for seed in range(12)]
    for one, first in enumerate(scenes):
        for other, second in enumerate(scenes):
            assert image_similarity(first, second) == image_similarity(second, first)
            if one == other:
                assert image_similarity(first, second) == pytest.approx(1.0, abs=1e-5)
            else:
                assert image_similarity(first, second) < MIN_IMAGE_SIMILARITY


def test_the_same_shapes_in_other_colours_are_another_picture() -> None:
    red, blue = (Image.new("RGB", (96, 96), "white") for _ in range(2))
    ImageDraw.Draw(red).ellipse((20, 20, 70, 70), "red")
    ImageDraw.Draw(blue).ellipse((20, 20, 70, 70), "blue")
    assert alike(red, blue) < MIN_IMAGE_SIMILARITY


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (64, 64)])
def test_a_plain_picture_is_like_none_not_even_itself(size: tuple[int, int]) -> None:
    plain: ByteArray = np.full((*size, 3), 77, np.uint8)
    assert not image_vectors(plain).any()
    assert image_similarity(image_vectors(plain), image_vectors(plain)) == 0
