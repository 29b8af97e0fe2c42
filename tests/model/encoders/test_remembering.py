import torch
from torch import Tensor

from anyseek.model.encoders.efficientnet import Features
from anyseek.model.encoders.remembering import Remembering

SEEN: list[int] = []


def _encode(pixels: Tensor) -> Features:
    SEEN.extend(int(one[0, 0, 0]) for one in pixels)
    return Features(pixels[:, :1], pixels.mean(dim=(2, 3)), pixels[:, 0, 0] * 2, pixels[:, :1])


def _pictures(*numbers: int) -> Tensor:
    return torch.stack([torch.full((3, 4, 4), float(number)) for number in numbers])


def test_what_was_seen_lately_is_not_encoded_again() -> None:
    SEEN.clear()
    encoder = Remembering(_encode)
    for shown in ((1, 2, 1), (3, 2), (2,)):
        found, plain = encoder(_pictures(*shown)), _encode(_pictures(*shown))
        del SEEN[-len(shown) :]
        for name in ("grid", "pooled", "logits"):
            torch.testing.assert_close(getattr(found, name), getattr(plain, name))
    assert SEEN == [1, 2, 3]


def test_what_was_seen_long_ago_is_forgotten() -> None:
    SEEN.clear()
    encoder = Remembering(_encode)
    encoder(_pictures(*range(640)))
    encoder(_pictures(0))
    encoder(_pictures(9_999))  # now 1 was seen longest ago
    encoder(_pictures(0, 1))
    assert [*range(640), 9_999, 1] == SEEN
