"""What every source of inputs has in common: the same pictures give the same items, whatever they come from."""

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from anyseek.indexer.errors import InputVanished, SourceGone, TooManyBytes
from anyseek.indexer.paths import from_uri
from anyseek.indexer.sources.base import Source, SourceInput
from anyseek.indexer.sources.opening import open_source
from anyseek.search.errors import BadInput
from anyseek.search.settings import Limits
from tests.indexer import sources_kit as kit

Bucket = Callable[[str, Mapping[str, bytes]], str]
KINDS = ("folder", "jsonl", "csv", "parquet", "tar", "tars", "urls", "s3", "s3-csv", "s3-tar", "memory")


@pytest.fixture
def site() -> Iterator[kit.Site]:
    with kit.site() as one:
        one.serve(kit.FILES)
        yield one


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What a user calls the source."""
    kind, folder = request.param, tmp_path / "photos"
    shards = {f"shard-{number:03}.tar": kit.tar(files) for number, files in enumerate(kit.shard_files())}
    if kind.startswith("s3"):
        bucket = request.getfixturevalue("s3")
        files = {
            "s3": {**kit.FILES, **kit.sidecars()},
            "s3-csv": {**kit.FILES, "t.csv": kit.csv_table()},
            "s3-tar": shards,
        }
        url = bucket(f"b-{uuid.uuid4().hex[:12]}", {f"p/{path}": data for path, data in files[kind].items()})
        return f"{url}/p" + {"s3": "", "s3-csv": "/t.csv", "s3-tar": "/shard-{000..001}.tar"}[kind]
    if kind == "memory":
        fsspec = pytest.importorskip("fsspec")
        root = f"/{uuid.uuid4().hex}"
        fsspec.filesystem("memory").pipe(
            {f"{root}/{path}": data for path, data in {**kit.FILES, **kit.sidecars()}.items()}
        )
        return f"memory:/{root}"
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        return str(kit.write(folder, {**kit.FILES, "t.parquet": kit.parquet_table()}) / "t.parquet")
    if kind == "urls":
        base = request.getfixturevalue("site").url
        return str(kit.write(folder, {"t.csv": kit.csv_table(base)}) / "t.csv")
    files = {
        "folder": lambda: {**kit.FILES, **kit.sidecars()},
        "jsonl": lambda: {**kit.FILES, "t.jsonl": kit.json_lines()},
        "csv": lambda: {**kit.FILES, "t.csv": kit.csv_table()},
        "tar": lambda: shards,
        "tars": lambda: shards,
    }[kind]()
    end = {"jsonl": "t.jsonl", "csv": "t.csv", "tar": "shard-{000..001}.tar"}.get(kind, "")
    return str(kit.write(folder, files) / end)


@pytest.fixture
def source(name: str, tmp_path: Path) -> Source:
    return open_source(kit.settings(tmp_path / "home"), name)


@pytest.mark.slow
def test_a_second_server_of_buckets_is_found(tmp_path: Path) -> None:
    """Tests that run in turns stop the server of a module and start another one on another port."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    for _ in range(2):
        with kit.s3_server() as bucket:
            url = bucket("photos", kit.FILES)
            assert len(list(open_source(kit.settings(tmp_path / "home"), url).scan())) == 3


def test_the_same_pictures_give_the_same_items(source: Source) -> None:
    found = list(source.scan())
    assert [(one.key, one.reason) for one in found] == [("A", None), ("B", None), ("C", None)]
    assert source.ignored == 0
    for one, row in zip(found, kit.ROWS, strict=True):
        said = source.describe(one.uri)
        assert (said.key, said.caption, said.attributes) == (row["key"], row.get("caption"), row["attributes"])
        assert said.file is not None
        assert source.read(said.file) == kit.FILES[row["file"]]
        further = {modality: source.read(file.path) for modality, file in said.modalities.items()}
        assert further == {modality: kit.FILES[path] for modality, path in row.get("modalities", {}).items()}


def test_inputs_are_found_again_by_whoever_opens_the_source(source: Source, tmp_path: Path) -> None:
    found = list(source.scan())
    again = open_source(kit.settings(tmp_path / "home"), from_uri(source.uri))
    assert again.uri == source.uri
    for one in reversed(found):
        assert again.describe(one.uri) == source.describe(one.uri)
    assert [(one.uri, one.key) for one in again.scan()] == [(one.uri, one.key) for one in found]


def test_uris_and_keys_can_be_stored(source: Source) -> None:
    found = list(source.scan())
    assert found
    for one in found:
        for text in (one.uri, one.key, source.uri):
            assert text
            assert "\0" not in text
            text.encode()


def test_what_is_too_large_is_refused(name: str, tmp_path: Path) -> None:
    source = open_source(kit.settings(tmp_path / "home", Limits(bytes_per_file=700)), name)
    refused = 0
    for one in source.scan():
        try:
            source.read(source.describe(one.uri).file or "")
        except TooManyBytes:
            refused += 1
    assert refused == sum(len(kit.FILES[row["file"]]) > 700 for row in kit.ROWS) > 0


def test_scans_are_lazy(source: Source) -> None:
    first = next(source.scan())
    assert isinstance(first, SourceInput)
    assert len(list(itertools.islice(source.scan(), 2))) == 2


@pytest.mark.parametrize("name", ["photos", "photos/", "t.csv", "t.jsonl", "u.txt", "s-{0..3}.tar", "*.tar", "x.tar"])
def test_what_is_not_there_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceGone):
        open_source(kit.settings(tmp_path / "home"), tmp_path / name)


def test_an_input_whose_file_is_gone_is_told(source: Source, name: str, tmp_path: Path) -> None:
    found = list(source.scan())
    said = source.describe(found[0].uri)
    if "://" in name or "tar" in source.uri or "://" in str(said.file):
        return  # its file lies in something that is there as a whole, or where this test cannot take it away
    Path(tmp_path / "photos" / str(said.file)).unlink()
    with pytest.raises(InputVanished):
        source.read(str(said.file))


def test_an_input_that_was_never_there_is_told(source: Source) -> None:
    first = next(source.scan())
    with pytest.raises(BadInput):
        source.read(str(source.describe(first.uri.replace("1", "7").replace("a", "z")).file))
