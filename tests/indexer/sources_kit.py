"""The same three pictures as every kind of source, for the contract suite and the tests of this folder."""

import csv
import io
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anyseek.search.settings import Limits, Settings
from tests.indexer.pictures import encoded, jpeg, png
from tests.indexer.pictures import write as write  # tests of sources take it from here
from tests.loopback import LoopbackServer

DEPTH = encoded(Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)), "PNG")
FILES = {"a.png": png(1), "b.jpg": jpeg(2), "c.png": png(3), "c.depth.png": DEPTH}
ROWS: tuple[dict[str, Any], ...] = (
    {"file": "a.png", "key": "A", "caption": "a red bicycle", "attributes": {"year": 1987, "kind": "bike"}},
    {"file": "b.jpg", "key": "B", "caption": 'Äpfel, "reif"\nund grün', "attributes": {"width": 2.5, "ok": True}},
    {"file": "c.png", "key": "C", "attributes": {"label": ["cat", "dog"]}, "modalities": {"depth": "c.depth.png"}},
)
LOOPBACK = "127.0.0.0/8, ::1/128"


def settings(home: Path, limits: Limits | None = None) -> Settings:
    return Settings(home, limits or Limits(), url_networks=LOOPBACK)


def sidecars() -> dict[str, bytes]:
    return {f"{Path(row['file']).stem}.json": json.dumps(row).encode() for row in ROWS}


def json_lines() -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def flat(base: str = "") -> list[dict[str, Any]]:
    """The rows with a column for each attribute, as tables have them."""
    rows = []
    for row in ROWS:
        attributes = dict(row["attributes"])
        labels = attributes.pop("label", None)
        further = {f"modality:{name}": base + path for name, path in row.get("modalities", {}).items()}
        picture = {"url" if base else "file": base + row["file"]}
        rows.append(
            {**picture, "key": row["key"], "caption": row.get("caption"), "labels": labels, **further, **attributes}
        )
    return rows


def csv_table(base: str = "") -> bytes:
    rows = flat(base)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return stream.getvalue().encode()


def _cell(value: Any) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    return json.dumps(value)


def parquet_table(rows: list[dict[str, Any]] | None = None) -> bytes:
    import pyarrow
    import pyarrow.parquet

    rows = rows if rows is not None else flat()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = pyarrow.table({column: [row.get(column) for row in rows] for column in columns})
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream, row_group_size=max(2, len(rows) // 50))
    return stream.getvalue()


def tar(files: Mapping[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def shard_files() -> list[dict[str, bytes]]:
    """The members of two shards."""
    said = sidecars()
    for name in said:
        row = json.loads(said[name])
        del row["file"]
        row.pop("modalities", None)
        said[name] = json.dumps(row).encode()
    first = {"a.png": FILES["a.png"], "a.json": said["a.json"], "b.jpg": FILES["b.jpg"], "b.json": said["b.json"]}
    return [first, {"c.png": FILES["c.png"], "c.depth.png": DEPTH, "c.json": said["c.json"]}]


class Site:
    """A web server on loopback; `answers` are (status, headers, body) by path, or what makes them."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append(self.path)
                answer = site.answers.get(self.path, (404, {}, b""))
                status, headers, body = answer(self) if callable(answer) else answer
                if status is None:
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None: ...

        self.server = LoopbackServer(Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def serve(self, files: Mapping[str, bytes]) -> None:
        self.answers.update({f"/{name}": (200, {}, data) for name, data in files.items()})


@contextmanager
def site() -> Iterator[Site]:
    one = Site()
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield one
    finally:
        one.server.shutdown()
        one.server.server_close()
        thread.join()


@contextmanager
def s3_server() -> Iterator[Callable[[str, Mapping[str, bytes]], str]]:
    """An S3 server on loopback; gives what makes a bucket with files in it and returns its address."""
    import boto3
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()  # fsspec keeps file systems, and those of a server before know only its port
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)

    def bucket(name: str, files: Mapping[str, bytes]) -> str:
        client = boto3.client("s3")
        client.create_bucket(Bucket=name)
        for path, data in files.items():
            client.put_object(Bucket=name, Key=path, Body=data)
        return f"s3://{name}"

    try:
        yield bucket
    finally:
        server.stop()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
