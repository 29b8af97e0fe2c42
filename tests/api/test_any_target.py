"""Items that have only a depth map, a segmentation or words: put over HTTP, shown, and found by everything else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anyseek import Client, Part
from anyseek.model.galleries.photos import FOLDER, read_views
from tests.api.conftest import serving
from tests.encoders import link_encoders

pytestmark = pytest.mark.slow

COUNT = 16
View = dict[str, Any]


def file_of(view: View, name: str) -> Path:
    given = view["file"] if name == "rgb" else view["modalities"][name]
    return FOLDER / (given if isinstance(given, str) else given["file"])


def part_of(view: View, name: str) -> Part | str:
    if name == "caption":
        return str(view["caption"])
    return Part(name, file=file_of(view, "rgb" if name == "sketch" else name))


@pytest.fixture(scope="module")
def views() -> list[View]:
    return list(read_views())[:COUNT]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, views: list[View]) -> Iterator[Client]:
    """A service with the bundled model and a collection for each kind of item."""
    home = tmp_path_factory.mktemp("targets")
    link_encoders(home)
    with serving(home, "4m-tiny") as (client, _):
        for kind in ("depth", "semseg", "caption"):
            client.create_collection(kind)
            for view in views:
                files = {} if kind == "caption" else {kind: file_of(view, kind)}
                client.put_item(kind, view["key"], files, view["caption"] if kind == "caption" else None)
        yield client


def found(client: Client, views: list[View], kind: str, by: str, space: str | None) -> float:
    """The share of queries that have their own item among the first three."""
    first = [client.query(kind, part_of(view, by), k=3, space=space).hits for view in views]
    return sum(view["key"] in [hit.key for hit in hits] for view, hits in zip(views, first, strict=True)) / len(views)


@pytest.mark.parametrize("kind", ["depth", "semseg"])
@pytest.mark.parametrize("by", ["rgb", "sketch", "depth", "semseg"])
def test_maps_are_found_by_whatever_shows_the_same(client: Client, views: list[View], kind: str, by: str) -> None:
    # A sketch here is the picture itself, which is cleaned as a drawing on paper would be.
    assert found(client, views, kind, by, None) >= (0.7 if by == "sketch" else 0.8)


@pytest.mark.parametrize(
    ("kind", "by"), [("depth", "caption"), ("semseg", "caption"), ("caption", "depth"), ("caption", "semseg")]
)
def test_maps_and_words_find_each_other_in_the_spaces_that_the_network_predicts(
    client: Client, views: list[View], kind: str, by: str
) -> None:
    assert found(client, views, kind, by, "semantic_global") >= 0.35, "of 3 in 16, chance is 0.19"


@pytest.mark.parametrize(("kind", "by"), [("depth", "caption"), ("caption", "depth")])
def test_the_answer_says_where_words_and_maps_share_nothing(
    client: Client, views: list[View], kind: str, by: str
) -> None:
    note = client.query(kind, part_of(views[0], by)).note
    assert "share nothing with the query" in note
    assert "semantic_global" in note
    assert client.query(kind, part_of(views[0], by), space="semantic_global").note is None
    assert client.query(kind, part_of(views[0], kind)).note is None


def test_photos_and_words_find_words(client: Client, views: list[View]) -> None:
    assert found(client, views, "caption", "caption", None) >= 0.9
    assert found(client, views, "caption", "rgb", None) >= 0.4


def test_what_is_shown_of_them(client: Client, views: list[View]) -> None:
    key = views[0]["key"]
    for kind, assets in (("depth", {"depth", "thumbnail"}), ("semseg", {"semseg", "thumbnail"}), ("caption", set())):
        assert {asset["name"] for asset in client.get_item(kind, key)["assets"]} == assets
    assert client.thumbnail("depth", key).startswith(b"\xff\xd8")
    assert client.thumbnail("semseg", key) != client.thumbnail("depth", key)
