"""The filter of 127 MiB of `{}` that took 7.9 GB and 32 s of everybody's time, against the limits as they are."""

import httpx
import pytest

from tests.fuzz.sent import JSON
from tests.services.anyseek import Anyseek

_MEBIBYTE = 1 << 20
_OPEN, _CLOSE = b'{"parts": [{"text": "a"}], "where": {"and": [', b"{}]}}"
HUGE = _OPEN + b"{}," * ((127 * _MEBIBYTE - len(_OPEN) - len(_CLOSE)) // 3) + _CLOSE
DEEP = b'{"where": ' + b'{"not": ' * 60_000 + b"{}" + b"}" * 60_001


@pytest.mark.parametrize(
    "path", ["/v1/collections/a/query", "/v1/collections/a/query/batch", "/v1/collections", "/v1/predict"]
)
@pytest.mark.parametrize(("body", "codes"), [(HUGE, ("json-too-large",)), (DEEP, ("json-too-deep", "json-too-large"))])
def test_it_is_refused_before_it_becomes_values(
    victim: Anyseek, http: httpx.Client, path: str, body: bytes, codes: tuple[str, ...]
) -> None:
    before = victim.usage().peak
    answer = http.post(path, content=body, headers=JSON)
    assert answer.status_code in (413, 422)
    assert answer.json()["type"].removeprefix("urn:anyseek:") in codes
    assert victim.usage().peak - before < 6 * len(HUGE) / _MEBIBYTE
    assert http.get("/healthz").status_code == 200
