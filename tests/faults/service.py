"""Harm done to the service: killed while it starts jobs and answers queries, and started again."""

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from anyseek import ApiError, Client, Part, ServiceUnreachable
from anyseek.search.catalogue.collections import get
from tests.faults.commands import start
from tests.faults.trial import Trial, harm_until_done, working
from tests.indexer.harness import NAME
from tests.search.gallery import all_items
from tests.services.servers import free_port
from tests.workers.processes import look, wait_for

_LIVES_SECONDS, MAX = 3.0, 5


class _Service:
    """`anyseek serve`, and its client."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._port = free_port()
        self.client = Client(f"http://127.0.0.1:{self._port}", timeout=10)
        self.start()

    def start(self) -> None:
        """Return when it is ready."""
        self._command = start(self._trial, "serve", "--port", str(self._port))
        wait_for(self._is_ready, "the service")

    def kill(self) -> None:
        os.killpg(self._command.process.pid, signal.SIGKILL)
        self._command.process.wait()

    def _is_ready(self) -> bool:
        with suppress(ServiceUnreachable, ApiError):
            self.client.wait_until_ready(0)
            return True
        return False


def service_is_killed(trial: Trial) -> int:
    """SIGKILL of the service while workers index what it was told to, and while it is asked for what is in."""
    with working(trial):
        service = _Service(trial)
        try:
            service.client.create_collection(NAME)
            job_ids = [service.client.index_folder(NAME, str(trial.gallery.folder))["id"]]

            def restart() -> None:
                service.kill()
                service.start()
                was_active = look(trial.context, job_ids[-1]).active
                job_ids.append(service.client.index_folder(NAME, str(trial.gallery.folder))["id"])
                is_same = job_ids[-1] == job_ids[-2]
                trial.check(is_same or not look(trial.context, job_ids[-2]).active, f"jobs {job_ids} run at once")
                trial.check(not is_same or was_active, f"of jobs {job_ids} one that had ended was joined")

            with _asking(trial, service.client) as answered:
                killed = harm_until_done(trial, job_ids[0], restart, _LIVES_SECONDS, MAX)
                wait_for(lambda: not look(trial.context, job_ids[-1]).active, "the end of a job that came later")
                seen = next(answered)
                wait_for(lambda: next(answered) > seen + 1, "answers after all harm")
        finally:
            service.kill()
    return killed


@contextmanager
def _asking(trial: Trial, client: Client) -> Iterator[Iterator[int]]:
    """Ask again and again, whether somebody answers or not; an item that is in must be the best hit for its picture."""
    stopped, answered = threading.Event(), [0]

    def ask() -> None:
        while not stopped.wait(0.05):
            key = trial.chance.choice(in_now) if (in_now := _keys(trial)) else None
            if key is None:
                continue
            with suppress(ServiceUnreachable, ApiError):
                hits = client.query(NAME, [Part("rgb", file=trial.gallery.folder / key)], k=1).hits
                trial.check([hit.key for hit in hits] == [key], f"asked with {key}, the service found {hits}")
                answered[0] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield (answered[0] for _ in itertools.count())
    finally:
        stopped.set()
        asking.join()


def _keys(trial: Trial) -> list[str]:
    with trial.context.database.read() as session:
        return [item.key for item in all_items(session, get(session, NAME))]
