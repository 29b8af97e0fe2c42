"""Folders from which jobs may be started over HTTP."""

from collections.abc import Callable
from pathlib import Path

import httpx

Problem = Callable[..., None]


def test_the_roots_and_the_folders_in_them_are_listed(http: httpx.Client, root: Path) -> None:
    for name in ("trip b", "trip a", ".hidden"):
        (root / "albums" / name).mkdir(parents=True, exist_ok=True)
    (root / "albums" / "a.png").write_bytes(b"")
    assert http.get("/v1/folders").json() == {"path": None, "folders": [str(root)]}
    inside = http.get("/v1/folders", params={"path": f"{root}/albums"}).json()
    assert inside["folders"] == [f"{root}/albums/trip a", f"{root}/albums/trip b"]


def test_what_is_outside_the_roots_is_not_listed(
    problem: Problem, http: httpx.Client, root: Path, tmp_path: Path
) -> None:
    for outside in ("/", str(tmp_path), f"{root}/..", "albums"):
        problem(http.get("/v1/folders", params={"path": outside}), 403, "root-refused")
    problem(http.get("/v1/folders", params={"path": f"{root}/missing"}), 422, "bad-input")
