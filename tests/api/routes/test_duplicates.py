"""Near-duplicates over HTTP, by both clients and on the command line, and what is refused."""

import asyncio
import json
from pathlib import Path

import pytest
from PIL import Image

from anyseek import ApiError, AsyncClient, Client
from anyseek.api.http.security import Scope, create_key
from tests.api.conftest import Run, StartService
from tests.search.answers.test_image_similarity import scene


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six pictures; of the first there is a smaller copy and an equal one, of the second a smaller one."""
    made = tmp_path / "photos"
    made.mkdir()
    for number in range(6):
        scene(number).save(made / f"{number}.png")
    scene(0).save(made / "0a.png")
    for number in range(2):
        scene(number).resize((90, 90), Image.Resampling.BOX).save(made / f"{number} small.jpg", quality=90)
    return made


def test_over_http_by_both_clients(start_service: StartService, photos: Path) -> None:
    url, service = start_service()
    with Client(url, patience=30) as client:
        client.create_collection("mine")
        assert client.duplicates("mine")["groups"] == []
        for path in sorted(photos.iterdir()):
            client.put_item("mine", path.name, {"rgb": path})
        found = client.duplicates("mine")
        sizes = {group["best"]["key"]: len(group["copies"]) for group in found["groups"]}
        assert sizes == {"0.png": 2, "1.png": 1}
        equal, small = found["groups"][0]["copies"]
        assert (equal["key"], equal["same_file"]) == ("0a.png", True)
        assert (small["key"], small["same_file"]) == ("0 small.jpg", False)
        assert small["size_bytes"] == (photos / "0 small.jpg").stat().st_size
        told = {name: found[name] for name in ("total", "copies", "pictures", "left_out")}
        assert told == {"total": 2, "copies": 3, "pictures": 9, "left_out": 0}
        assert len(client.duplicates("mine", limit=1)["groups"]) == 1
        assert client.collection("mine")["items"] == 9

        async def ask() -> int:
            async with AsyncClient(url) as there:
                return int((await there.duplicates("mine"))["total"])

        assert asyncio.run(ask()) == 2
        with pytest.raises(ApiError, match="nowhere"):
            client.duplicates("nowhere")
        with pytest.raises(ApiError) as refused:
            client.duplicates("mine", limit=0)
        assert refused.value.status == 422
    key = create_key(service.runtime.database, "reader", Scope.READ)
    with Client(url, key) as client:
        assert client.duplicates("mine")["groups"][0]["best"]["path"] is None


def test_on_the_command_line(anyseek: Run, photos: Path, tmp_path: Path) -> None:
    code, _, told = anyseek("duplicates")
    assert (code, "there is no collection yet" in told) == (2, True)
    assert anyseek("index", photos, "--collection", "mine")[0] == 0
    code, output, _ = anyseek("duplicates")
    lines = output.splitlines()
    assert (code, lines[-1]) == (0, "3 copies in 2 groups, of 9 pictures")
    assert lines[0].split()[:2] == ["1", "best"]
    assert lines[1].split()[0] == "equal"
    code, output, told = anyseek("duplicates", "mine", "--json", "--contact-sheet", tmp_path / "sheet.png")
    assert (code, json.loads(output)["total"]) == (0, 2)
    assert "sheet.png: 5 pictures" in told
    assert Image.open(tmp_path / "sheet.png").width > 200
    code, output, _ = anyseek("duplicates", "mine", "--paths", "-0")
    named = [Path(path) for path in output.split("\0") if path]
    assert (code, len(named), all(path.is_file() for path in named)) == (0, 3, True)
    assert {path.name for path in named} >= {"0 small.jpg", "1 small.jpg"}
    code, output, _ = anyseek("duplicates", "mine", "--limit", "1")
    assert output.splitlines()[-1] == "3 copies in 2 groups, of 9 pictures; the first 1 groups are shown"


def test_wrong_options_are_one_sentence(anyseek: Run, photos: Path) -> None:
    assert anyseek("index", photos, "--collection", "mine")[0] == 0
    for options, said in (
        (("--paths", "--json"), "--paths or --json"),
        (("-0",), "-0 is for --paths"),
        (("--limit", "0"), "limit"),
        (("nowhere",), "nowhere"),
        (("--contact-sheet", "sheet.txt"), "sheet.txt does not end in a picture format"),
        (("--contact-sheet", "missing/a.png"), "missing/a.png cannot be written: there is no folder missing"),
    ):
        code, _, told = anyseek("duplicates", *options)
        assert (code != 0, said in told, "Traceback" in told, ".tmp-" in told) == (True, True, False, False)


def test_without_duplicates_the_count_is_told(anyseek: Run, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    scene(1).save(tmp_path / "one" / "1.png")
    anyseek("index", tmp_path / "one", "--collection", "one")
    assert anyseek("duplicates", "one")[1] == "0 copies in 0 groups, of 1 pictures\n"
    code, _, told = anyseek("duplicates", "one", "--contact-sheet", tmp_path / "sheet.png")
    assert (code, "nothing was found" in told) == (2, True)
