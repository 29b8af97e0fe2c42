"""`benchmarks.decoding` runs."""

from benchmarks.decoding import measured


def test_each_picture_is_decoded_both_ways() -> None:
    told = measured(1)
    assert list(told) == ["PNG, 224 x 224", "WebP, 224 x 224", "JPEG, 1024 x 1024", "WebP, 1024 x 1024"]
    assert all(row["thread"] > 0 and row["process"] > 0 for row in told.values())
