"""What loading costs in memory, measured in a process of its own on sparse files: real shapes, hardly any disk."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sparse_checkpoint import write_sparse

KEYS = Path(__file__).parents[2] / "golden" / "keys" / "4M-21_B.json.gz"

# Loads a file, then reads every number in it; prints what of the process's memory (bytes) each of the two added.
_CHILD = """
import json, sys
from pathlib import Path
import torch
from anyseek.model.checkpoints.files import load_fourm

def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)
             if name in ("VmHWM", "RssAnon", "RssFile")}
    return found | {"rss": found["RssAnon"] + found["RssFile"]}

before = memory()
network = load_fourm(Path(sys.argv[1]), getattr(torch, sys.argv[2]))
loaded = memory()
total = sum(tensor.sum().item() for tensor in network.state_dict().values())
read = memory()
growth = lambda now: {"peak": now["VmHWM"] - before["rss"], "anonymous": now["RssAnon"] - before["RssAnon"],
                      "file": now["RssFile"] - before["RssFile"]}
print(json.dumps({"loaded": growth(loaded), "read": growth(read), "total": total}))
"""


def _measure(path: Path, dtype: str) -> dict[str, Any]:
    command = [sys.executable, "-c", _CHILD, str(path), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["total"] == 0
    return found


def _published() -> tuple[dict[str, Any], dict[str, list[int]]]:
    document = json.loads(gzip.decompress(KEYS.read_bytes()))
    return document["config"], {key: entry["shape"] for key, entry in document["keys"].items()}


def test_no_second_copy_is_held(tmp_path: Path) -> None:
    config, shapes = _published()
    config = config | {"dim": 64, "num_heads": 1, "encoder_depth": 0, "decoder_depth": 0}
    narrow = {
        key: [64 if size == 768 else size for size in shape]
        for key, shape in shapes.items()
        if not key.startswith(("encoder.", "decoder."))
    }
    narrow["encoder_embeddings.rgb@224.proj.weight"] = [64, 3 * 16 * 16]
    size = write_sparse(tmp_path / "model.safetensors", config, narrow)
    assert size > 200_000_000
    found = _measure(tmp_path / "model.safetensors", "float32")
    assert found["loaded"]["peak"] < 0.5 * size
    assert found["read"]["anonymous"] < 0.2 * size  # numbers stay in the file
    assert found["read"]["peak"] < 1.2 * size


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1.2), ("bfloat16", 1.6)])
def test_a_file_of_the_real_shape_loads_in_little_more_than_its_size(tmp_path: Path, dtype: str, most: float) -> None:
    size = write_sparse(tmp_path / "model.safetensors", *_published())
    assert size > 3_300_000_000
    assert (tmp_path / "model.safetensors").stat().st_blocks * 512 < 100_000
    found = _measure(tmp_path / "model.safetensors", dtype)
    assert found["loaded"]["peak"] < most * size
    assert found["read"]["peak"] < most * size
    assert found["read"]["anonymous"] < (0.1 if dtype == "float32" else 0.6) * size
