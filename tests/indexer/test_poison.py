"""An input that kills its worker: suspected after one death, quarantined after three more that it had to itself."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image

from anyseek.indexer.indexing import open_collection, open_job
from anyseek.indexer.runs import Owner
from anyseek.indexer.sources.opening import open_source
from anyseek.search.catalogue import jobs
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.catalogue.ledger import DEADLY
from tests.indexer.harness import NAME, Counting, check_agreement, failures, held, index, installation, numbers
from tests.indexer.pictures import encoded, folder_of, png

WORKER = (
    "import sys\nfrom pathlib import Path\nfrom tests.indexer.harness import Trapped, index, installation, numbers\n"
    "with installation(Path(sys.argv[1]), Trapped()) as tools:\n"
    "    print(*numbers(index(tools, Path(sys.argv[2]))))\n"
)


def work(home: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WORKER, str(home), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_deadly_input_ends_in_quarantine_and_takes_nobody_along(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", range(70), "{:02}.png")
    (photos / "40-deadly.png").write_bytes(encoded(Image.new("RGB", (8, 8), (255, 0, 0)), "PNG"))
    deaths = 0
    while (done := work(tmp_path / "home", photos)).returncode == -signal.SIGKILL:
        deaths += 1
        assert deaths <= 4, "the input should have been quarantined"
    assert done.returncode == 0, done.stderr
    assert deaths == 4  # one in its range, three alone
    indexed, unchanged, quarantined, _ = map(int, done.stdout.split())
    assert (indexed + unchanged, quarantined) == (70, 1)
    with installation(tmp_path / "home") as tools:
        assert len(held(tools)) == 70
        with tools.database.read() as session:
            (job,) = jobs.list_page(session, None, 10)
        assert failures(tools, job)["40-deadly.png"].code == DEADLY
        check_agreement(tools)


def test_a_dead_owner_s_job_is_adopted_at_once(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", range(3))
    with installation(tmp_path / "home") as tools:
        source, collection = open_source(tools.settings, photos), open_collection(tools, NAME)
        with Owner(tools.database, tools.settings) as first:
            job = open_job(collection, source, first, prune=False)
            with Owner(tools.database, tools.settings) as second:
                assert open_job(collection, source, second, prune=False).owner == first.name
        (photos / "3.png").write_bytes(png(3))
        done = index(tools, photos, progress=Counting())
        assert (done.id, done.state, numbers(done)) == (job.id, JobState.DONE, (4, 0, 0, 0))
