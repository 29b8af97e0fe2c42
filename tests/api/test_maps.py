"""Maps over HTTP, by both clients and on the command line, and what is refused."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anyseek import ApiError, AsyncClient, Client
from anyseek.api.http.security import Scope, create_key
from anyseek.search.catalogue.tables import AssetRow
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import Run, StartService
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


def test_the_command_asks_a_service_and_the_page_names_it(
    anyseek: Run, start_service: StartService, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = start_service()
    with Client(url, patience=30) as client:
        client.create_collection("mine")
        client.put_item("mine", "</script><b>.png", {"rgb": photos / "0.png"})
        client.put_item("mine", "words alone", caption="words alone")
    monkeypatch.setenv("ANYSEEK_URL", url)
    code, _, told = anyseek("map", "mine", "--html", tmp_path / "map.html", "--png", tmp_path / "map.png")
    assert (code, "map.html: 2 of 2 items" in told) == (0, True)
    assert "map.png: 2 of 2 items, 1 without a thumbnail" in told
    page = (tmp_path / "map.html").read_text()
    assert (page.count("</script>"), url in page) == (2, True)


def test_on_the_command_line(anyseek: Run, photos: Path, tmp_path: Path) -> None:
    code, _, told = anyseek("map", "--json")
    assert (code, "there is no collection yet" in told) == (2, True)
    assert anyseek("index", photos, "--collection", "mine")[0] == 0
    page, picture = tmp_path / "map.html", tmp_path / "map.png"
    code, output, told = anyseek("map", "--json", "--png", picture, "--html", page, "--colour-by", "orientation")
    assert (code, len(json.loads(output)["places"])) == (0, 8)
    size = "{} x {} pixels".format(*Image.open(picture).size)
    assert f"map.png: 8 of 8 items, {size}" in told
    written = page.read_text()
    found = json.loads(re.search(r'id="found">(.*?)</script>', written)[1])  # type: ignore[index]
    assert found["service"] is None
    assert all(place["picture"].startswith("data:image/webp;base64,") for place in found["places"])
    assert "default-src &#x27;none&#x27;" in written
    again = tmp_path / "again.html"
    anyseek("map", "mine", "--html", again, "--colour-by", "orientation")
    assert again.read_bytes() == page.read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--png FILE, --html FILE or --json"),
        (("--png", "map.txt"), "no ending of a picture"),
        (("--png", "missing/map.png"), "missing/map.png cannot be written: there is no folder missing"),
        (("--html", "missing/map.html"), "missing/map.html cannot be written: there is no folder missing"),
        (("--json", "--space", "none"), "no space 'none'"),
        (("--json", "--colour-by", "widht"), "did you mean width?"),
        (("--json", "--limit", "0"), "limit"),
        (("--json", "--seed", "-1"), "seed"),
        (("nowhere", "--json"), "nowhere"),
    ],
)
def test_wrong_options_are_one_sentence(
    anyseek: Run,
    photos: Path,
    options: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert anyseek("index", photos, "--collection", "mine")[0] == 0
    code, _, told = anyseek("map", *options)
    assert (code != 0, said in told, "Traceback" in told, ".tmp-" in told) == (True, True, False, False)
    assert not list(tmp_path.glob("*map*"))


def test_an_empty_collection_and_one_of_few_items(anyseek: Run, tmp_path: Path) -> None:
    with Runtime.open(Settings(tmp_path / "home"), "hashing"):
        pass
    anyseek("collections", "create", "empty")
    code, _, told = anyseek("map", "empty", "--png", tmp_path / "map.png")
    assert (code, "the collection 'empty' is empty, so there is no map of it" in told) == (2, True)
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(2):
        scene(number).save(folder / f"{number}.png")
        anyseek("index", folder, "--collection", "few")
        code, _, told = anyseek("map", "few", "--png", tmp_path / "map.png", "--html", tmp_path / "map.html")
        assert (code, f"map.png: {number + 1} of {number + 1} items" in told) == (0, True)


def test_a_damaged_thumbnail_is_a_gap(anyseek: Run, photos: Path, tmp_path: Path) -> None:
    anyseek("index", photos, "--collection", "mine")
    with Runtime.open(Settings(tmp_path / "home"), "hashing") as runtime, runtime.database.write() as session:
        stored = session.query(AssetRow).filter(AssetRow.stored).first()
        assert stored is not None
        (runtime.settings.assets / stored.location).write_bytes(b"damaged")
    code, _, told = anyseek("map", "mine", "--png", tmp_path / "map.png", "--html", tmp_path / "map.html")
    assert (code, "1 without a thumbnail" in told) == (0, True)
