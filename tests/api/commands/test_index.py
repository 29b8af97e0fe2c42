"""`anyseek index` and `anyseek jobs` as a user meets them: lines, JSON, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from anyseek.api.commands import progress
from anyseek.indexer.indexing import ensure_collection, open_job
from anyseek.indexer.runs import Owner
from anyseek.indexer.sources.opening import open_source
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings
from tests.api.conftest import Run
from tests.indexer.harness import installation
from tests.indexer.pictures import bomb, jpeg, png

COMMAND = [sys.executable, "-c", "from anyseek.api.cli import main; main()"]


# Python's own library may lie where nobody can read it: run once as root, then again without rights.
AS_NOBODY = """
import os, sys
from pathlib import Path
import anyseek.api.errors
from anyseek.api.cli import run
root = Path(sys.argv[1])
assert run(["index", str(root / "warm"), "--collection", "warm", "--model", "hashing", "--json"]) == 0
for path in [root / "home", *(root / "home").rglob("*")]:
    os.chown(path, 65534, 65534)
os.setuid(65534)
sys.exit(run(sys.argv[2:]))
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return three_photos(tmp_path / "photos")


def three_photos(folder: Path) -> Path:
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(png(number))
    return folder


def to_c(folder: Path, *options: str) -> tuple[str | Path, ...]:
    return ("index", folder, "--collection", "c", "--model", "hashing", *options)


def summary(output: str) -> dict[str, Any]:
    assert output.count("\n") == 1
    members: dict[str, Any] = json.loads(output)
    return members


def test_all_in(anyseek: Run, photos: Path) -> None:
    (photos / "notes.txt").write_text("words")
    code, output, errors = anyseek(*to_c(photos))
    assert code == 0
    assert output.startswith("job 1: indexed 3, unchanged 0, quarantined 0, ignored 1, pruned 0 in ")
    assert output.endswith(" items/s)\n")
    assert errors == "found 3 pictures\n"
    (photos / "0.png").unlink()
    code, output, errors = anyseek("index", photos, "--collection", "c", "--prune", "--json")
    assert (code, errors) == (0, "")
    result = summary(output)
    assert (result["unchanged"], result["pruned"], result["state"], result["collection"]) == (2, 1, "done", "c")
    assert result["items_per_second"] > 0


def test_the_last_progress_is_the_final_state(anyseek: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setenv("ANYSEEK_WORK_INPUTS_PER_BATCH", "1")
    code, _, errors = anyseek(*to_c(photos))
    assert code == 0
    assert errors.splitlines()[-1] == "indexed 3 of 3"


def test_bad_input_is_named_and_listed(anyseek: Run, photos: Path) -> None:
    bad = {
        "empty.png": (b"", "empty-input"),
        "words.png": (b"only words", "not-a-picture"),
        "half.jpg": (jpeg(1)[:300], "broken-picture"),
        "bomb.png": (bomb(30_000), "too-many-pixels"),
        "line\nbreak.png": (b"?", "not-a-picture"),
    }
    for name, (data, _) in bad.items():
        (photos / name).write_bytes(data)
    code, output, _ = anyseek(*to_c(photos))
    assert code == 3
    lines = [line for line in output.splitlines() if line.startswith("quarantined ")]
    assert len(lines) == len(bad)
    for name, (_, reason) in bad.items():
        assert any(name.replace("\n", "\\n") in line and line.endswith(f"[{reason}]") for line in lines)
    code, listed, _ = anyseek("jobs", "failures", "1", "--json")
    assert code == 0
    reported = [json.loads(line) for line in listed.splitlines()]
    expected = {(name, reason) for name, (_, reason) in bad.items()}
    assert {(failure["uri"], failure["code"]) for failure in reported} == expected
    assert all(failure["reason"] for failure in reported)
    _, plain, _ = anyseek("jobs", "failures", "1")
    assert plain.splitlines() == [line.removeprefix("quarantined ") for line in lines]
    _, output, errors = anyseek(*to_c(photos, "--json"))
    assert summary(output)["quarantined"] == len(bad)
    assert errors.count("quarantined ") == len(bad)


def test_wrong_usage(anyseek: Run, photos: Path) -> None:
    assert anyseek("index", photos)[0] == 2
    assert anyseek(*to_c(photos / "nothing"))[0] == 2
    assert anyseek(*to_c(photos / "0.png"))[0] == 2
    assert anyseek("index", photos, "--collection", "-bad name", "--model", "hashing")[0] == 2
    code, _, errors = anyseek("index", photos, "--collection", "c", "--model", "psychic")
    assert code == 2
    assert "'psychic' is not a model" in errors
    assert anyseek(*to_c(photos))[0] == 0
    code, _, errors = anyseek("index", photos, "--collection", "c", "--model", "4m-tiny")
    assert code == 2
    assert "made with the model hashing" in errors
    assert anyseek("jobs", "failures", "99")[0] == 1


def test_jobs_are_listed_newest_first(anyseek: Run, photos: Path) -> None:
    anyseek(*to_c(photos))
    anyseek(*to_c(photos))
    code, output, _ = anyseek("jobs", "list", "--json")
    assert code == 0
    jobs = [json.loads(line) for line in output.splitlines()]
    assert [(job["id"], job["counts"]["indexed"], job["counts"]["unchanged"]) for job in jobs] == [(2, 0, 3), (1, 3, 0)]
    assert anyseek("jobs", "list", "--collection", "other")[1] == ""
    _, output, _ = anyseek("jobs", "show", "1")
    assert output.startswith(f"1 index {photos} -> c: done; indexed 3, unchanged 0, quarantined 0, open 0")
    assert json.loads(anyseek("jobs", "show", "2", "--json")[1])["state"] == "done"
    assert "done" in anyseek("jobs", "cancel", "1")[1]


def test_a_job_whose_process_is_gone_is_interrupted(anyseek: Run, photos: Path, tmp_path: Path) -> None:
    with installation(tmp_path / "home") as context, Owner(context.database, context.settings) as owner:
        open_job(ensure_collection(context, "c"), open_source(context.settings, photos), owner, prune=False)
        assert "c: scanning; " in anyseek("jobs", "show", "1")[1]
    assert "c: interrupted; " in anyseek("jobs", "show", "1")[1]
    code, output, _ = anyseek(*to_c(photos))
    assert (code, output[:6]) == (0, "job 1:")


def test_quarantined_inputs_are_retried(anyseek: Run, photos: Path) -> None:
    (photos / "half.jpg").write_bytes(jpeg(1)[:300])
    (photos / "0.json").write_text("{")
    assert anyseek(*to_c(photos))[0] == 3
    code, output, errors = anyseek("jobs", "retry", "1")
    assert (code, errors.splitlines()[0]) == (3, "1 inputs will be retried")
    assert "half.jpg is a damaged picture" in output
    (photos / "half.jpg").write_bytes(jpeg(1))
    code, output, _ = anyseek("jobs", "retry", "1")
    assert code == 3, "what was refused while the folder was listed stays so"
    assert output.splitlines()[-1].startswith("job 1: indexed 3, unchanged 0, quarantined 1")
    (photos / "0.json").unlink()
    assert anyseek(*to_c(photos))[0] == 0
    code, _, errors = anyseek("jobs", "retry", "1")
    assert (code, errors) == (1, "anyseek: job 2 has indexed the folder of job 1 since then; retry that job\n")


def test_an_ended_job_is_watched_at_once(anyseek: Run, photos: Path) -> None:
    anyseek(*to_c(photos))
    code, output, _ = anyseek("jobs", "watch", "1")
    assert (code, output.split(";")[0]) == (0, f"1 index {photos} -> c: done")
    (line,) = anyseek("jobs", "watch", "1", "--json")[1].splitlines()
    job = json.loads(line)
    assert (job["state"], job["counts"]["indexed"], job["rate"]) == ("done", 3, None)
    assert anyseek("jobs", "watch", "99")[0] == 1


def test_ctrl_c_prints_how_to_resume(tmp_path: Path, photos: Path) -> None:
    for number in range(3, 300):
        (photos / f"{number}.png").write_bytes(png(number, 8, 8))
    environment = {**os.environ, "ANYSEEK_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    arguments = [*COMMAND, *map(str, to_c(photos))]
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "found 300 pictures\n"
    wait_for_items(tmp_path / "home")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "interrupted; run the same command again to resume\n"
    done = subprocess.run([*arguments, "--json"], env=environment, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["indexed"] + result["unchanged"] == 300
    assert result["indexed"] > 0
    assert result["unchanged"] > 0


def wait_for_items(home: Path) -> None:
    database = Database(Settings(home).database_url)
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        with database.read() as session:
            if collections.count(session, collections.get(session, "c").id):
                break
        time.sleep(0.01)
    database.close()


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_without_permission(open_folder: Path) -> None:
    photos = three_photos(open_folder / "photos")
    (photos / "closed").mkdir(mode=0o700)
    (photos / "closed/in.png").write_bytes(png(5))
    (photos / "1.png").chmod(0)
    (open_folder / "warm").mkdir()
    environment = {**os.environ, "ANYSEEK_HOME": str(open_folder / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", AS_NOBODY, str(open_folder), *map(str, to_c(photos, "--prune"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "quarantined 1.png: 1.png cannot be read: Permission denied [input-unreadable]" in done.stdout
    assert "the folder closed cannot be read: Permission denied; nothing is pruned [folder-unreadable]" in done.stdout
    assert "indexed 2, unchanged 0, quarantined 2" in done.stdout
    photos.chmod(0o700)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"anyseek: the folder {photos} cannot be read: Permission denied\n"


def test_attributes_are_predicted_on_request_and_the_source_keeps_that(anyseek: Run, photos: Path) -> None:
    def indexed(*options: str) -> str:
        code, out, _ = anyseek("index", photos, "--collection", "c", *options)
        assert code in (0, 3)
        return out.splitlines()[-1].split(": ", 1)[1].split(", ignored")[0]

    first = indexed("--model", "hashing")
    assert indexed("--predict-attributes") == first.replace("unchanged 1", "unchanged 0")
    assert "unchanged 0" not in indexed()
    _, out, _ = anyseek("sources", "list")
    assert out.rstrip().endswith("with predicted attributes")
    _, out, _ = anyseek("items", "list", "--collection", "c", "--where", "predicted.brightness > 0", "--json")
    assert "colourfulness" in out
    indexed("--no-predict-attributes")
    _, out, _ = anyseek("items", "list", "--collection", "c", "--json")
    assert "colourfulness" not in out
