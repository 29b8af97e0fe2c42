"""Maps over HTTP, by both clients, and what is refused; colours of values with a legend that counts all items."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from anyseek import ApiError, AsyncClient, Client
from anyseek.api.http.security import Scope, create_key
from anyseek.api.routes.maps import NONE, OTHER, assign_colours
from tests.api.conftest import StartService
from tests.search.answers.test_image_similarity import scene


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight pictures, half of them in a folder."""
    made = tmp_path / "photos"
    (made / "more").mkdir(parents=True)
    for number in range(8):
        folder = made / "more" if number % 2 else made
        scene(number).save(folder / f"{number}.png")
    return made


def test_over_http_by_both_clients(start_service: StartService, photos: Path) -> None:
    url, service = start_service()
    with Client(url, patience=30) as client:
        client.create_collection("mine")
        assert client.map("mine")["places"] == []
        for path in sorted(photos.rglob("*.png")):
            client.put_item("mine", path.name, {"rgb": path}, attributes={"folder": path.parent.name})
        found = client.map("mine", colour_by="folder", seed=3)
        assert {place["key"] for place in found["places"]} == {f"{number}.png" for number in range(8)}
        assert {one["label"]: one["items"] for one in found["legend"]} == {"more": 4, "photos": 4}
        colours = {one["label"]: one["colour"] for one in found["legend"]}
        assert all(place["colour"] == colours[place["value"]] for place in found["places"])
        assert (found["items"], found["left_out"]) == (8, 0)
        assert client.map("mine", colour_by="folder", seed=3) == found
        assert len(client.map("mine", limit=3)["places"]) == 3

        async def ask() -> int:
            async with AsyncClient(url) as there:
                return len((await there.map("mine"))["places"])

        assert asyncio.run(ask()) == 8
        wrong: list[tuple[int, dict[str, Any]]] = [
            (404, {"space": "none"}),
            (422, {"limit": 0}),
            (422, {"colour_by": "foldr"}),
        ]
        for status, options in wrong:
            with pytest.raises(ApiError) as refused:
                client.map("mine", **options)
            assert refused.value.status == status
        with pytest.raises(ApiError, match="nowhere"):
            client.map("nowhere")
    key = create_key(service.runtime.database, "reader", Scope.READ)
    with Client(url, key) as client:
        assert len(client.map("mine")["places"]) == 8


def legend_of(values: list[Any]) -> list[tuple[str, int]]:
    return [(meaning.label, meaning.items) for meaning in assign_colours(values)[1]]


def test_the_most_frequent_values_have_colours_of_their_own() -> None:
    values = [f"value {number}" for number in range(12) for _ in range(12 - number)] + [None]
    colours, legend = assign_colours(values)
    assert legend_of(values)[:2] == [("value 0", 12), ("value 1", 11)]
    assert legend_of(values)[-2:] == [("3 other values", 6), ("none", 1)]
    assert len(set(colours)) == 11
    assert colours[-2:] == [OTHER, NONE]
    assert sum(meaning.items for meaning in legend) == len(values)


def test_many_numbers_and_times_have_a_scale() -> None:
    numbers = [None, *(float(number) for number in range(50))]
    assert legend_of(numbers) == [(f"{low} to {low + 9}", 10) for low in range(0, 50, 10)] + [("none", 1)]
    colours, legend = assign_colours(numbers)
    assert colours[1] == legend[0].colour != colours[-1]
    times = [f"20{year:02}-05-01T12:00:00" for year in range(10, 30)]
    assert legend_of(times)[0] == ("2010-05-01 to 2013-05-01", 4)
    for wide in ([-1.7e308, 1.7e308, *(5e-324 * step for step in range(20))], [0.0] * 500 + numbers[1:12]):
        assert sum(items for _, items in legend_of(wide)) == len(wide)


def test_few_numbers_truths_and_texts_are_values() -> None:
    assert legend_of([1.0, 2.0, 2.0]) == [("2", 2), ("1", 1)]
    assert legend_of([True, False, True]) == [("true", 2), ("false", 1)]
    assert legend_of(["a\nb", "2024"]) == [("2024", 1), ("a\N{REPLACEMENT CHARACTER}b", 1)]
    assert legend_of(["x" * 90]) == [("x" * 39 + "\N{HORIZONTAL ELLIPSIS}", 1)]
    assert assign_colours([]) == ([], [])
