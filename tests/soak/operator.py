"""Who operates the soaked service: samples it, kills it, moves its collection to another model and back."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from anyseek import ApiError, Client
from anyseek.api.errors import ServiceUnreachable
from tests.indexer.mirrored import NEW, OLD
from tests.soak.clients import Truth
from tests.soak.plan import Plan
from tests.soak.service import COLLECTION, Soaked
from tests.soak.slopes import Sample

_SAMPLES = 240
_KILLED_UNTIL = 0.4  # of the run: the rest is one long life, whose memory and descriptors tell of leaks


class Operator:
    """Acts in the thread of `operate`, and samples in another, until `finish` is called."""

    def __init__(self, service: Soaked, plan: Plan, truths: Sequence[Truth]) -> None:
        self.samples: list[Sample] = []
        self.kills = self.moves = 0
        self.snapshots: set[str] = set()
        self.wrong: list[str] = []
        self._service, self._plan, self._truths = service, plan, truths
        self._began, self._finished, self._alive = time.monotonic(), threading.Event(), threading.Lock()

    def operate(self) -> None:
        """Do all that the plan says; what is behind schedule is done at once."""
        for at, act in self._schedule():
            if self._finished.wait(max(0.0, self._began + 60 * self._plan.minutes * at - time.monotonic())):
                break
            try:
                act()
            except (ApiError, ServiceUnreachable, AssertionError) as error:
                self.wrong.append(f"the operator could not {act.__name__.strip('_')}: {error}")

    def sample(self) -> None:
        while not self._finished.wait(60 * self._plan.minutes / _SAMPLES):
            self._sample()

    def finish(self) -> None:
        self._finished.set()

    def _schedule(self) -> list[tuple[float, Callable[[], None]]]:
        """When each thing is done, as a share of the run; the first move is killed in its middle."""
        kills = [(_KILLED_UNTIL * (place + 0.5) / self._plan.kills, self._kill) for place in range(self._plan.kills)]
        moves = [((place + 0.9) / (self._plan.moves + 0.4), self._move) for place in range(self._plan.moves)]
        return sorted([*kills, *moves, (_KILLED_UNTIL, self._move_and_be_killed)], key=lambda one: one[0])

    def _kill(self) -> None:
        with self._alive:
            self._service.kill()
            self.kills += 1
            self._service.start()

    def _move_and_be_killed(self) -> None:
        """A re-embedding that the service does not survive: the same request goes on with it."""
        model = self._other_model()
        with Client(self._service.url, timeout=60) as client:
            client.reembed(COLLECTION, model)
        self._kill()
        self._move_to(model)

    def _move(self) -> None:
        self._move_to(self._other_model())

    def _move_to(self, model: str) -> None:
        """Re-embed with a model, unless that was done before the service was killed, and drop the older vectors."""
        with Client(self._service.url, timeout=300, patience=60) as client:
            if job := self._reembed(client, model):
                *_, last = client.watch(job["id"])
                assert last["job"]["state"] == "done", f"it ended as {last['job']['state']}: {last['job']['error']}"
            client.forget_old(COLLECTION)
        self.moves += 1

    def _reembed(self, client: Client, model: str) -> dict[str, Any] | None:
        """The job; None if one of before the service was killed went on by itself, and has ended meanwhile."""
        try:
            return client.reembed(COLLECTION, model)
        except ApiError as error:
            if error.type != "urn:anyseek:already-embedded":
                raise
            return None

    def _other_model(self) -> str:
        return OLD if self._service.model() == NEW else NEW

    def _sample(self) -> None:
        with self._alive, suppress(FileNotFoundError, ProcessLookupError):
            usage = self._service.usage()
            figures = {"memory": usage.memory, "descriptors": float(usage.descriptors), **self._service.sizes()}
            figures["rows of the log"] = float(self._service.log_rows())
            operations = sum(truth.done.total() for truth in self._truths)
            self.samples.append(Sample(time.monotonic() - self._began, operations, self._service.lives, figures))
        self.snapshots |= {file.name for file in (self._service.home / "indexes").rglob("*") if file.is_file()}
