"""What rows of tables say, those that cannot be understood, and tables of any length."""

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from anyseek.indexer.errors import BadDescription, BadSource, SourceGone
from anyseek.indexer.sources.base import Source
from anyseek.indexer.sources.opening import open_source
from tests.indexer import sources_kit as kit
from tests.indexer.pictures import png


def opened(tmp_path: Path, name: str, content: bytes | str) -> Source:
    kit.write(tmp_path / "t", {name: content, "a.png": 1, "b.png": 2})
    return open_source(kit.settings(tmp_path / "home"), tmp_path / "t" / name)


def reasons(source: Source) -> dict[str, str]:
    return {one.uri: str(one.reason) for one in source.scan() if one.reason}


def test_cells_are_typed_and_other_columns_are_attributes(tmp_path: Path) -> None:
    table = "file,key,width,zip,ratio,ok,note,labels,attributes\n" + (
        'a.png,7,640,01234,-1.5e3,true,,"[""cat"", ""dog""]","{""deep"": {""er"": [1]}}"\n'
    )
    source = opened(tmp_path, "t.csv", "\ufeff" + table)
    (found,) = source.scan()
    assert (found.key, found.reason) == ("7", None)
    assert source.describe(found.uri).attributes == {
        "width": 640,
        "zip": "01234",
        "ratio": -1500.0,
        "ok": True,
        "label": ["cat", "dog"],
        "deep": {"er": [1]},
    }


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = [
        {"file": "a.png", "key": 5, "n": 1, "zip": "0123", "bad": float("nan"), "s": {"x": [1, None]}, "raw": b"\xff"},
        {"file": "b.png", "key": None, "n": None, "zip": None, "bad": 2.5, "s": None, "raw": None},
    ]
    source = opened(tmp_path, "t.parquet", kit.parquet_table(rows))
    first, second = source.scan()
    assert (first.key, second.key) == ("5", "b.png")
    assert source.describe(second.uri).attributes == {"bad": 2.5}
    assert source.describe(first.uri).attributes == {"n": 1, "zip": "0123", "s": {"x": [1, None]}}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"key": "x"}', "needs either a file or a url,"),
        ('{"file": "a.png", "url": "http://x.org/a"}', "needs either a file or a url,"),
        ('{"file": "../a.png"}', "inside the folder"),
        ('{"url": "a.png"}', "not an http or https"),
        ('{"file": "a.png", "label": 7}', "the label '7'"),
        ('{"file": "a.png", "label": "x", "labels": ["y"]}', "both `label` and `labels`"),
        ('{"file": "a.png", "label": "x", "attributes": {"label": "y"}}', "'label' twice"),
        ('{"file": "a.png", "modality:depth": "b.png", "modalities": {"depth": "b.png"}}', "'depth' twice"),
        ('{"file": "a.png", "modality:smell": "b.png"}', "'smell' is not a modality"),
        ("not json", "not JSON"),
        ('{"url": "http://example.org/' + "a" * 1_200 + '"}', "add a column `key`"),
        ('{"file": "a.png", "caption": "' + "x" * 1_100_000 + '"}', "longer than"),
        (b'{"file": "\xff.png"}', "codec can't decode"),
    ],
)
def test_rows_that_are_wrong_are_named_and_the_others_taken(tmp_path: Path, line: str | bytes, reason: str) -> None:
    data = line.encode() if isinstance(line, str) else line
    source = opened(tmp_path, "t.jsonl", b'{"file": "a.png"}\n\n' + data + b'\n{"file": "b.png"}')
    assert [one.key for one in source.scan() if one.reason is None] == ["a.png", "b.png"]
    assert reason in reasons(source)["t.jsonl:3"]


def test_rows_of_the_wrong_length_are_named(tmp_path: Path) -> None:
    source = opened(tmp_path, "t.csv", 'file,key\na.png,A,x\nb.png\n"b.png","B"x\n\nb.png,B\n')
    assert [one.key for one in source.scan() if one.reason is None] == ["B"]
    assert "3 cells" in reasons(source)["t.csv:2"]
    assert set(reasons(source)) == {"t.csv:2", "t.csv:3", "t.csv:4"}


@pytest.mark.parametrize("first", ["file,file\n", "file,,x\n", "\xff\xff"])
def test_a_first_line_that_names_no_columns(tmp_path: Path, first: str) -> None:
    with pytest.raises(BadSource, match="first line"):
        opened(tmp_path, "t.csv", first.encode("latin-1"))


def test_what_is_no_source_is_told(tmp_path: Path) -> None:
    for name in ("notes.md", "a.png"):
        with pytest.raises(BadSource, match="is not a source"):
            opened(tmp_path, name, b"")
    for name in ("http://example.org/a/", "file:///etc/", "zip://a::s3://b/c", "nonsense://x/y"):
        with pytest.raises(BadSource):
            open_source(kit.settings(tmp_path), name)


def test_a_list_of_urls(tmp_path: Path) -> None:
    lines = ["# pictures", "http://example.org/a.png", "", "  HTTPS://example.org/ä.png ", "ftp://x/y", "b.png"]
    source = opened(tmp_path, "urls.txt", "\r\n".join(lines))
    assert [one.key for one in source.scan() if not one.reason] == [
        "http://example.org/a.png",
        "HTTPS://example.org/%C3%A4.png",
    ]
    assert set(reasons(source)) == {"urls.txt:5", "urls.txt:6"}
    assert source.threads > 1


def test_a_table_that_is_changed_while_it_is_read(tmp_path: Path) -> None:
    source = opened(tmp_path, "t.jsonl", '{"file": "a.png"}\n{"file": "b.png"}\n')
    found = list(source.scan())
    (tmp_path / "t/t.jsonl").write_text('{"file": "b.png"}\n{"file": "a.png"}\n')
    for one in found:
        with pytest.raises(BadDescription, match="was changed"):
            source.describe(one.uri)
    (tmp_path / "t/t.jsonl").unlink()
    with pytest.raises(SourceGone):
        source.check()


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(9))
    source = opened(tmp_path, "t.jsonl", '{"file": "link.png"}\n')
    (tmp_path / "t/link.png").symlink_to(tmp_path / "secret.png")
    assert "leads out of its folder" in reasons(source)["t.jsonl:1"]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [("jsonl", 2_000), ("parquet", 2_000), pytest.param("csv", 100_000, marks=pytest.mark.slow)],
)
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, kind: str, rows: int) -> None:
    """A scan takes as much memory as one of a tenth of its rows."""
    sources = [opened(tmp_path, f"{count}.{kind}", _generated(kind, count)) for count in (rows // 10, rows)]
    peaks = []
    for source, count in zip(sources, (rows // 10, rows), strict=True):
        next(iter(source.scan()))
        tracemalloc.start()
        assert sum(1 for _ in source.scan()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 300_000, peaks


def _generated(kind: str, count: int) -> bytes:
    rows: list[dict[str, Any]] = [
        {"url": f"http://example.org/{n:06}.png", "caption": f"number {n}"} for n in range(count)
    ]
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        return kit.parquet_table(rows)
    if kind == "jsonl":
        return "\n".join(map(json.dumps, rows)).encode()
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["url", "caption"])
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()
