"""Maps over HTTP, by both clients, and what is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from anyseek import ApiError, AsyncClient, Client
from anyseek.api.http.security import Scope, create_key
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
