"""Multipart forms: strange fields, settings and weights, and forms whose bytes are damaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.fuzz import values
from tests.fuzz.sent import Sent

_BOUNDARY = "fuzz-boundary"
_SETTINGS = (
    "k", "space", "fusion", "where", "offset", "min_score", "vectors", "group_by", "group_size", "classes",
    "attributes", "targets", "model", "seed", "steps", "item", "words", "vector", "caption", "color_palette", "rgb",
    "semseg", "box", "forms", "facets", "spaces", "cursor", "explain", "min_probability", "collections",
    "predict_attributes", "mask", "query",
)  # fmt: skip
_TYPES = (
    "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other",
    "multipart/mixed; boundary=b",
    f'multipart/form-data; boundary="{_BOUNDARY}"; charset=utf-16', "application/x-www-form-urlencoded", "text/plain",
    f"multipart/form-data; boundary={'b' * 300}", f"Multipart/Form-Data; Boundary={_BOUNDARY}",
)  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A field of a form; with a file's name it is a file."""

    name: str
    content: bytes
    filename: str | None = None


_SOUND = (
    Field("caption", b"a dog"),
    Field("color_palette:0.5", b"#ff0000,#00ff00"),
    Field("item", b"x"),
    Field("k", b"3"),
    Field("where", b"n >= 1"),
    Field("words", b"dog"),
    Field("query", b'{"parts": [{"text": "a dog"}]}'),
)


def form(method: str, path: str, fields: Sequence[Field]) -> Sent:
    """A well-formed form, but for what its names do to it."""
    headers = {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}
    return Sent(method, path, _body(fields), headers)


def _body(fields: Sequence[Field]) -> bytes:
    body = b""
    for field in fields:
        named = f'; filename="{_in_quotes(field.filename)}"' if field.filename is not None else ""
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{_in_quotes(field.name)}"{named}\r\n\r\n'
        body += head.encode("utf-8", "surrogatepass") + field.content + b"\r\n"
    return body + f"--{_BOUNDARY}--\r\n".encode()


def _in_quotes(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def make(random: Random) -> Sent:
    """An item, a query or a prediction as a form."""
    fields = [_field(random) for _ in range(random.choice((0, 0, 1, 1, 2, 5, 70)))]
    if random.random() < 0.7:
        fields += random.sample(_SOUND, random.randrange(1, 4))
    method, path = random.choice(
        (
            ("PUT", f"/v1/collections/a/items/{values.quoted(values.key(random))}"),
            ("POST", f"/v1/collections/{values.quoted(values.collection(random))}/query"),
            ("POST", "/v1/query"),
            ("POST", "/v1/predict"),
        )
    )
    made = form(method, path, fields)
    if random.random() < 0.3:
        made = Sent(method, path, values.damaged(random, made.body), made.headers)
    if random.random() < 0.1:
        made = Sent(method, path, made.body, {"content-type": random.choice(_TYPES)})
    return made


def _field(random: Random) -> Field:
    name = random.choice(_SETTINGS) if random.random() < 0.85 else values.word(random)
    if random.random() < 0.15:
        name += random.choice((":0.5", ":-1", ":1e400", ":", ":x", "::1", ":" + "9" * 300))
    filename = values.text(random) if random.random() < 0.2 else None
    return Field(name, _content(random), filename)


def _content(random: Random) -> bytes:
    if random.random() < 0.3:
        return values.as_json(values.value(random))
    if random.random() < 0.1:
        return random.randbytes(20)
    return values.text(random).encode("utf-8", "surrogatepass")
