"""What a fuzzer sends, and what is wrong with an answer."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

MAX_SECONDS = 10.0
MAX_DETAIL_LENGTH = 1_100
JSON = {"content-type": "application/json"}
# 503 that say what the caller may do about it, and no failure of the service: a model that is known and not pulled.
_FAIR = ("urn:anyseek:weights-missing",)


@dataclass(frozen=True)
class Sent:
    """One request: its path with its query, percent-encoded, after the service's address."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def to(self, http: httpx.Client) -> httpx.Response:
        """Raises `httpx.HTTPError`: `TimeoutException` after `MAX_SECONDS`."""
        return http.request(self.method, self.path, content=self.body or None, headers=dict(self.headers))

    def curl(self, url: str, body: str) -> str:
        """The command that sends it again, with the file `body` as its body."""
        words = ["curl", "-sS", "-X", self.method, url + self.path]
        words += [word for name, value in self.headers.items() for word in ("-H", f"{name}: {value}")]
        return shlex.join(words + (["--data-binary", f"@{body}"] if self.body else []))


def wrong_with(answer: httpx.Response) -> str | None:
    """One sentence about an answer that the service should not give; None for all others."""
    text = None if answer.request.method == "HEAD" else answer.text
    return wrong(answer.status_code, answer.headers.get("content-type", ""), text)


def wrong(status: int, media_type: str, text: str | None) -> str | None:
    """The same of an answer's parts; `text` is None where HTTP allows none."""
    if text is None:
        return f"{status}" if status >= 500 else None
    if status < 400:
        return _wrong_success(text) if media_type.startswith("application/json") else None
    if not media_type.startswith("application/problem+json"):
        return f"{status} is no problem document but {media_type!r}"
    told = json.loads(text)
    if not str(told.get("type")).startswith("urn:anyseek:"):
        return f"{status} has the foreign type {told.get('type')!r}"
    if status >= 500 and told["type"] not in _FAIR:
        return f"{status} {told['type']}: {told['detail']}"
    if len(told["detail"]) > MAX_DETAIL_LENGTH:
        return f"{status} quotes {len(told['detail']):,} characters"
    return None


def _wrong_success(text: str) -> str | None:
    constants: list[str] = []
    json.loads(text, parse_constant=constants.append)
    return f"an answer has {constants[0]}" if constants else None
