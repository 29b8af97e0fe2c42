"""Names that lead out of where they belong: in addresses, keys, files' names and jobs."""

from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.services.anyseek import Anyseek

_OUT = (
    "../../etc/passwd", "/etc/passwd", "..%2f..%2fetc%2fpasswd", "....//....//etc/passwd", "%2e%2e/%2e%2e/etc/passwd",
    "..\\..\\etc\\passwd", "a/../../../etc/passwd", "/proc/self/environ", "C:\\windows\\win.ini", "~/.ssh/id_rsa",
)  # fmt: skip


@pytest.mark.parametrize("name", _OUT)
def test_no_address_leads_out(http: httpx.Client, name: str) -> None:
    for written in (name, quote(name, safe="")):
        for path in ("", "web/", "v1/collections/a/assets/rgb/", "v1/collections/a/thumbnails/", "v1/folders?path="):
            answer = http.get(f"/{path}{written}")
            assert "root:" not in answer.text
            assert answer.status_code in (200, 400, 403, 404, 422)


@pytest.mark.parametrize("name", _OUT)
def test_no_key_or_files_name_writes_elsewhere(victim: Anyseek, http: httpx.Client, name: str) -> None:
    before = _files_beside(victim.home)
    put = http.put(f"/v1/collections/a/items/{quote(name, safe='')}", files={"caption": (name, b"a dog")})
    assert put.status_code in (200, 422)
    assert _files_beside(victim.home) == before


@pytest.mark.parametrize("source", [*_OUT, "file:///etc", "http://127.0.0.1:1/", "http://169.254.169.254/latest/"])
def test_no_job_reads_out_of_the_roots(http: httpx.Client, source: str) -> None:
    answer = http.post("/v1/collections/a/jobs", json={"source": source})
    assert answer.status_code in (403, 422), answer.text


def _files_beside(home: Path) -> set[Path]:
    return {path for path in home.parent.rglob("*") if home not in path.parents and path.name not in ("log", "pid")}
