"""The benchmark of words beside maps: a row for each source, on what ships and on a small pack."""

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from benchmarks.words_beside_maps import main
from tests.encoders import pulled_encoders
from tests.model.data.sources.packs_kit import about, encoded, picture, write_shard


def test_rooms_and_photos_have_a_row_for_each_kind_of_map(tmp_path: Path) -> None:
    pulled_encoders()
    files = {
        "webp": picture(),
        "depth.png": encoded(np.arange(96, dtype=np.uint16).reshape(8, 12) * 20 + 800),
        "semseg.png": encoded(np.repeat(np.array([[1, 2]], np.uint8), 8, axis=0).repeat(6, axis=1)),
    }
    samples = [(about(id=f"nyu/{number}", source="nyu-depth-v2", split="test"), files) for number in range(4)]
    write_shard(tmp_path / "depth" / "depth-research-000000.tar", samples)
    (tmp_path / "depth" / "classes.json").write_text(json.dumps({"nyu-depth-v2": {"1": "wall", "2": "floor"}}))
    done = CliRunner().invoke(main, [str(tmp_path), "--limit", "4"], catch_exceptions=False)
    assert done.exit_code == 0
    header, *rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [row[:3] for row in rows] == [
        ["rooms", "depth", "4"],
        ["nyu-depth-v2", "depth", "4"],
        ["nyu-depth-v2", "semseg", "4"],
    ]
    assert all(len(row) == len(header) for row in rows)
    assert all(0 <= float(share) <= 1 for row in rows for share in row[3:10])
