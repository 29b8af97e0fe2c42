"""Flips bits and bytes in the files of a small installation, and tells what comes of it.

    python -m benchmarks.flips [--flips 200] [--seed 0] [--kinds database snapshot thumbnail original backup]

For each kind of file and each seed from the first one on, a copy of the installation has one bit or one byte changed.
Then it is asked, verified, rebuilt and asked again, each as a user does it; a backup is restored into an empty data
directory, which is asked and verified. The outcome is the worst of:

- traceback: something ended with an error that is not one sentence of ours
- wrong: an answer differed from the sound installation's and did not say that anything is left out, before a rebuild or
  after one that exits with 0
- found: verify says so and exits with 1, or restore refuses the backup
- mended: every answer is the same, because what filters or full text read was written anew first, and everything agrees
- harmless: every answer is the same, and everything agrees (most of a database's pages are unused or bookkeeping)
"""

import argparse
import contextlib
import io
import json
import logging
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from anyseek.api.cli import run
from anyseek.api.errors import own
from anyseek.indexer.put import put_item
from anyseek.indexer.samples import RawFile
from anyseek.search.catalogue import audit, collections, facet_counts, items, listing
from anyseek.search.errors import AnyseekError
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import checked
from anyseek.search.settings import Settings
from anyseek.search.types import Part, Query, Results, Words
from anyseek.workers.runtime import Runtime

BACKUP = "backup"
KINDS = ("database", "snapshot", "thumbnail", "original", BACKUP)
WORST_FIRST = ("traceback", "wrong", "found", "mended", "harmless")
COLLECTION = "things"
_MODEL = "hashing"
_ITEMS, _PUT = 80, 8
_SIZE = 24
_COLOURS = ("red", "green", "blue", "grey")

Answers = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """What one flip led to, and where it was."""

    kind: str
    seed: int
    place: str
    outcome: str
    why: str = ""


def make(home: Path, count: int = _ITEMS) -> None:
    """An installation with `count` items in a snapshot, of which some originals are stored, and a few after it."""
    folder = home / "photos"
    folder.mkdir(parents=True)
    for number in range(count - _PUT):
        (folder / f"{number:03}.png").write_bytes(picture(number))
        said = {"caption": f"a {_COLOURS[number % 4]} thing, number {number}", "attributes": {"number": number}}
        (folder / f"{number:03}.json").write_text(json.dumps(said))
    command(home, "index", str(folder), "--collection", COLLECTION, "--model", _MODEL)
    with Runtime.open(Settings(home), _MODEL) as runtime:
        for number in range(count - _PUT, count):
            put(runtime, number)
        runtime.engine.write_snapshots(COLLECTION)
        for number in range(count, count + 4):
            put(runtime, number)
    settle(home)
    command(home, "backup", str(home / BACKUP))


def put(runtime: Runtime, number: int) -> None:
    attributes = {"number": number, "colour": _COLOURS[number % 4]}
    file = RawFile("rgb", picture(number), f"{number}.png")
    put_item(runtime.tools(), COLLECTION, f"put/{number}", [file], f"a put thing, number {number}", attributes)


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (_SIZE, _SIZE, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def settle(home: Path) -> None:
    """Move what the write-ahead log holds into the database's file."""
    engine = create_engine(Settings(home).database_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()


def files(home: Path, kind: str) -> list[Path]:
    """The files of a kind."""
    settings = Settings(home)
    if kind == "database":
        return [home / "catalogue.sqlite"]
    if kind == BACKUP:
        return [home / BACKUP]
    if kind == "snapshot":
        return sorted(path for path in settings.indexes.rglob("*") if path.is_file() and not path.name.startswith("."))
    stored = sorted(path for path in settings.assets.rglob("*") if path.is_file() and not path.name.startswith("."))
    return [path for path in stored if path.read_bytes().startswith(b"\x89PNG") == (kind == "original")]


def flip(home: Path, kind: str, seed: int) -> str:
    """Change a bit, or for odd seeds a byte, of a file of the kind; return where."""
    chosen = random.Random(f"{kind} {seed}")
    path = chosen.choice(files(home, kind))
    data = bytearray(path.read_bytes())
    place = chosen.randrange(len(data))
    data[place] ^= chosen.randrange(1, 256) if seed % 2 else 1 << chosen.randrange(8)
    path.write_bytes(data)
    return f"{path.relative_to(home)} byte {place}"


def ask(home: Path) -> Answers:
    """What a newly started process answers; a refusal is its code."""
    answers: Answers = {}
    with refusals(answers, "open"), Runtime.open(Settings(home), _MODEL) as runtime:
        for name, question in questions(runtime).items():
            with refusals(answers, name):
                answers[name] = question()
    return answers


@contextlib.contextmanager
def refusals(answers: Answers, name: str) -> Iterator[None]:
    """Note an error of ours as the answer. Raises what no user should see."""
    try:
        yield
    except Exception as error:
        known = own(error)
        if getattr(known, "code", None) is None or (known is error and not hasattr(type(error), "code")):
            raise
        answers[name] = f"refused: {type(known).__name__}: {known}"


def questions(runtime: Runtime) -> dict[str, Callable[[], Any]]:
    late = checked(filter_from_text("number >= 74"))
    every = checked(filter_from_text("number >= 0"))

    def query(**asked: Any) -> Any:
        return said(runtime.engine.query(COLLECTION, Query(**asked)))

    return {
        "words": lambda: query(parts=(Part("caption", "a red thing"),), k=100),
        "item": lambda: query(parts=(Part(item="put/74"),), k=20),
        "filter": lambda: query(parts=(Part("caption", "a put thing"),), k=20, where=late),
        "wide filter": lambda: query(parts=(Part("caption", "a thing"),), k=100, where=every),
        "full text": lambda: query(parts=(), k=100, words=(Words("red 12 put"),)),
        "facets": lambda: counted(runtime),
        "listing": lambda: listed(runtime),
        "files": lambda: stored(runtime),
    }


def said(results: Results) -> Any:
    hits = [(hit.item.key, hit.item.caption, str(hit.item.attributes), hit.score) for hit in results.hits]
    return {"hits": hits, "note": results.note}


def listed(runtime: Runtime) -> Any:
    with runtime.database.read() as session:
        found = listing.page(session, collections.get(session, COLLECTION), listing.Order.KEY, None, 1_000)
    return [(item.key, item.caption, str(item.attributes)) for item, _ in found]


def counted(runtime: Runtime) -> Any:
    runtime.derived.facets.check()
    with runtime.database.read() as session:
        found = facet_counts.count(session, collections.get(session, COLLECTION).id, 20, 100)
    return [str(each) for each in found]


def stored(runtime: Runtime) -> Any:
    """The stored files of a few items, or why not."""
    answers: Answers = {}
    for key in ("000.png", "040.png", "put/74"):
        for name in ("thumbnail", "rgb"):
            with refusals(answers, f"{key} {name}"):
                with runtime.database.read() as session:
                    item = items.get(session, collections.get(session, COLLECTION), key)
                if name in item.assets:
                    answers[f"{key} {name}"] = runtime.assets.read(item.assets[name])
    return answers


def differs(sound: Answers, now: Answers) -> str | None:
    """The first question that is answered otherwise without saying that anything is missing."""
    if "open" in now:
        return None
    for name, expected in sound.items():
        if not same(expected, now[name]):
            return name
    return None


def same(expected: Any, now: Any) -> bool:
    if isinstance(now, str) and now.startswith("refused: "):
        return True
    if isinstance(expected, dict) and "hits" in expected:
        return bool(now["note"] and "damaged" in now["note"]) or same_hits(expected["hits"], now["hits"])
    if isinstance(expected, dict):
        return all(same(value, now.get(name)) for name, value in expected.items())
    return bool(expected == now)


def same_hits(expected: list[Any], now: list[Any]) -> bool:
    """The same items with the same content and scores; ties of rounding may change places."""
    if len(expected) != len(now):
        return False
    by_key = {hit[0]: hit for hit in now}
    return all(
        hit[0] in by_key and by_key[hit[0]][1:3] == hit[1:3] and abs(by_key[hit[0]][3] - hit[3]) < 1e-4
        for hit in expected
    )


def command(home: Path, *arguments: str) -> int:
    """Run a command of Anyseek on an installation, silently."""
    os.environ["ANYSEEK_HOME"] = str(home)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return run(list(arguments))


def trial(sound: Path, answers: Answers, kind: str, seed: int, workshop: Path) -> Trial:
    """One flip in a copy of the installation at `sound`."""
    home = workshop / "home"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(sound, home)
    place = flip(home, kind, seed)
    try:
        outcome, wrong = restored(home, answers) if kind == BACKUP else mended(home, answers)
    except Exception as error:  # noqa: BLE001, whatever it is
        return Trial(kind, seed, place, "traceback", f"{type(error).__name__}: {error}")
    if wrong:
        return Trial(kind, seed, place, "wrong", wrong)
    return Trial(kind, seed, place, outcome)


def mended(home: Path, answers: Answers) -> tuple[str, str]:
    """The outcome in a damaged installation, and which answer is wrong, before or after a rebuild."""
    before = differs(answers, ask(home))
    sound = "mended" if mends_of(home) else "harmless"
    agrees = command(home, "verify") == 0
    rebuilt = command(home, "rebuild") == 0 and command(home, "verify") == 0
    after = differs(answers, ask(home)) if rebuilt else None
    wrong = f"{before or after}, {'before' if before else 'after'} the rebuild" if before or after else ""
    return sound if agrees else "found", wrong


def mends_of(home: Path) -> int:
    """How often the installation has mended itself; 0 where damage hides it."""
    try:
        with Runtime.open(Settings(home), None) as runtime, runtime.database.read() as session:
            return len(audit.list_page(session, audit.Wanted(action="collection.mend"), None, 10))
    except (AnyseekError, SQLAlchemyError):
        return 0


def restored(home: Path, answers: Answers) -> tuple[str, str]:
    """The same of what a damaged backup makes of an empty data directory, if it is not refused."""
    empty = home / "restored"
    if command(empty, "restore", str(home / BACKUP)) != 0:
        return "found", "rows were written" if collections_of(empty) else ""
    wrong = differs(answers, ask(empty))
    agrees = command(empty, "verify") == 0
    return "harmless" if agrees else "found", f"{wrong}, from the backup" if wrong else ""


def collections_of(home: Path) -> int:
    """How many collections there are in a data directory."""
    with Runtime.open(Settings(home), None) as runtime, runtime.database.read() as session:
        return len(collections.list_all(session))


def trials(kinds: list[str], seeds: range) -> Iterator[Trial]:
    """All trials, on one small installation."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder, "sound")
        make(sound)
        answers = ask(sound)
        for kind in kinds:
            for seed in seeds:
                yield trial(sound, answers, kind, seed, Path(folder))


def table(found: list[Trial]) -> str:
    """A row for each kind, in Markdown."""
    lines = [
        "| file | flips | found | mended | harmless | wrong answers | tracebacks |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(each.kind for each in found):
        counts = Counter(each.outcome for each in found if each.kind == kind)
        row = [
            kind,
            sum(counts.values()),
            *(counts[name] for name in ("found", "mended", "harmless", "wrong", "traceback")),
        ]
        lines.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flips", description="Flip bytes, and see what comes.")
    parser.add_argument("--flips", type=int, default=200, help="flips of each kind of file")
    parser.add_argument("--seed", type=int, default=0, help="that of the first flip; each one has the next")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", action="store_true", help="a line of JSON for each flip")
    given = parser.parse_args(arguments)
    found = []
    for each in trials(given.kinds, range(given.seed, given.seed + given.flips)):
        found.append(each)
        if given.json:
            print(json.dumps(vars(each)), flush=True)
        elif each.outcome in WORST_FIRST[:2]:
            print(f"{each.kind} {each.seed}: {each.outcome} at {each.place}: {each.why}", file=sys.stderr, flush=True)
    if not given.json:
        print(table(found))
    return 1 if any(each.outcome in WORST_FIRST[:2] for each in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
