"""CONTRIBUTING says what a new member of a query takes; here `max_score` is added with exactly that, in a copy.

Three files of code are changed. HTTP as JSON, as a form and in a URL, its description, the command line and the Python
client have the member then.
"""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

ROOT = Path(__file__).parents[2]

CHANGES = {
    "search/query/query.py": (
        (
            '''    """leave out hits that are less probable, from 0 to 1; what words alone find stays"""
''',
            '''    """leave out hits that are less probable, from 0 to 1; what words alone find stays"""
    max_score: Annotated[float, JsonType(float, ge=-1, le=1)] | None = None
    """leave out hits whose score is higher, from -1 to 1"""
''',
        ),
    ),
    "api/client/client.py": (
        ("        offset: int = 0,\n", "        offset: int = 0,\n        max_score: float | None = None,\n"),
        ("            offset=offset,\n", "            offset=offset,\n            max_score=max_score,\n"),
    ),
    "search/answers/hits.py": (
        (
            "    left = [item for item in best if item[0] not in seen.items] if seen else best[query.offset :]\n",
            "    best = [item for item in best if query.max_score is None or item[1] <= query.max_score]\n"
            "    left = [item for item in best if item[0] not in seen.items] if seen else best[query.offset :]\n",
        ),
    ),
}

PROGRAM = """
import json, time
from fastapi.testclient import TestClient
from anyseek.api.app import create_app
from anyseek.api.cli import run
from anyseek import Client
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.settings import read_settings
from anyseek.workers.runtime import Runtime

with Runtime.open(read_settings(), "hashing") as runtime:
    with TestClient(create_app(Service(runtime, ServiceSettings())), base_url="http://127.0.0.1") as http:
        while http.get("/readyz").status_code != 200:
            time.sleep(0.05)
        http.post("/v1/collections", json={"name": "c"})
        for key in ("a dog", "a cat", "a dog and a cat"):
            http.put(f"/v1/collections/c/items/{key}", files={"caption": (None, key)}).raise_for_status()
        path, plain = "/v1/collections/c/query", {"parts": [{"text": "a dog"}]}
        every = http.post(path, json=plain).json()["hits"]
        most = every[1]["score"]
        expected = [hit["key"] for hit in every[1:]]
        asked = {**plain, "max_score": most}
        answers = {
            "json": http.post(path, json=asked),
            "form": http.post(path, files={"query": (None, json.dumps(asked))}),
            "url": http.get(path, params={"text": "a dog", "max_score": most}),
        }
        with Client(model="hashing") as client:
            assert [hit.key for hit in client.query("c", "a dog", max_score=most).hits] == expected
        for way, answer in answers.items():
            assert [hit["key"] for hit in answer.json()["hits"]] == expected, (way, answer.text)
        assert http.post(path, json={**plain, "max_score": 2}).status_code == 422
        described = http.get("/openapi.json").json()
        assert described["components"]["schemas"]["Query"]["properties"]["max_score"]["description"]
        in_url = described["paths"]["/v1/collections/{collection}/query"]["get"]["parameters"]
        assert "max_score" in {parameter["name"] for parameter in in_url}
        print(json.dumps(expected), flush=True)
assert run(["query", "--collection", "c", "a dog", "--max-score", str(most), "--paths"]) == 0
assert run(["query", "--collection", "c", "a dog", "--max-score", "2"]) == 2
run(["query", "--help"])
"""


def _changed_copy(folder: Path) -> Path:
    """The package in `folder` as links to its files, but for those that are changed."""
    package = folder / "anyseek"
    package.mkdir()
    for entry in (ROOT / "anyseek").iterdir():
        if entry.name in ("api", "search"):
            ignored = lambda _, names: [name for name in names if name == "__pycache__"]  # noqa: E731
            copytree(ROOT / entry.name, package / entry.name, copy_function=os.symlink, ignore=ignored)
        elif entry.name != "__pycache__":
            (package / entry.name).symlink_to(entry.resolve())
    for name, changes in CHANGES.items():
        text = (ROOT / name).read_text()
        for before, after in changes:
            assert text.count(before) == 1, (name, before)
            text = text.replace(before, after)
        (package / name).unlink()
        (package / name).write_text(text)
    return folder


def test_a_member_is_everywhere_when_it_is_in_query_and_where_it_has_its_effect(tmp_path: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ANYSEEK")}
    environment = plain | {"PYTHONPATH": str(_changed_copy(tmp_path)), "ANYSEEK_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('["a dog and a cat", "a cat"]')
    assert "Leave out hits whose score is higher" in done.stdout
