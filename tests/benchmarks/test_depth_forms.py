"""The benchmark reads shards of depth maps by their sources."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import depth_forms


def test_each_source_has_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as archive:
        for name, source in (("000000", "floors"), ("000001", "ceilings")):
            rows = np.linspace(4000, 1000, 60).astype(np.uint16)[:, None]
            stream = io.BytesIO()
            Image.fromarray(np.repeat(rows if source == "floors" else rows[::-1], 40, axis=1)).save(stream, "PNG")
            for file, data in (("depth.png", stream.getvalue()), ("json", json.dumps({"source": source}).encode())):
                member = tarfile.TarInfo(f"{name}.{file}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    monkeypatch.setattr("sys.argv", ["depth_forms", str(shard)])
    depth_forms.main()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("floors: 1.000 of 1 maps in 8 conventions: 16-bit PNG, mm 1.000")
    assert second.startswith("ceilings: 0.")
