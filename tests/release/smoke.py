"""What an installed wheel can do, tried in an empty folder without the repository. Uses the standard library alone.

    python smoke.py BIN FOLDER [--demo]

BIN is the folder with the command `anyseek`; FOLDER becomes its data directory. `--demo` also indexes the demo's
galleries and asks them, which takes minutes. Prints a line for each thing that works; ends at the first that does not.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

# What tells how to reach a network: proxies, whose names programs read in either case, certificates, and where pip
# finds packages. All else of a user's environment, such as PIP_TARGET or PYTHONPATH, would change what is tried.
_OF_PIP = ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "TRUSTED_HOST", "CERT", "CLIENT_CERT", "PROXY",
           "DEFAULT_TIMEOUT", "TIMEOUT", "RETRIES", "CACHE_DIR", "DISABLE_PIP_VERSION_CHECK")  # fmt: skip
_KEPT = re.compile(
    rf"(?i:(http|https|ftp|all|no)_proxy)|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|LANG|LC_\w+|PIP_({'|'.join(_OF_PIP)})"
)

_MAKE_PICTURES = """
import io, sys
from pathlib import Path
from PIL import Image
from anyseek.model.galleries.photos import read_photos
for number, photo in enumerate(read_photos()[:5]):
    Image.fromarray(photo.picture()).save(Path(sys.argv[1]) / f"{number}.jpg")
"""
_FILES = ("/", "/docs", "/openapi.json", "/credits", "/web/app.js", "/web/style.css", "/web/swagger/swagger-ui.css")
_WHERE = "import anyseek, anyseek.api; print(anyseek.__version__, *{m.__file__ for m in (anyseek, anyseek.api)})"


def plain_environment(given: Mapping[str, str]) -> dict[str, str]:
    """What of an environment a trial gets: how to reach a network, and that pip reads no file of the user's."""
    return {name: value for name, value in given.items() if _KEPT.fullmatch(name)} | {"PIP_CONFIG_FILE": os.devnull}


class Installed:
    """The installed program; its commands run in an empty folder, in a `plain_environment`."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self.folder = programs, folder
        path = f"{programs}:/usr/bin:/bin"
        self.environment = plain_environment(os.environ) | {
            "PATH": path,
            "HOME": str(folder),
            "ANYSEEK_HOME": str(folder / "data"),
        }

    def __call__(self, *arguments: str, **settings: str) -> str:
        """What `anyseek ARGUMENTS` says; ends the program if it fails."""
        return self._said([str(self._programs / "anyseek"), *arguments], settings)

    def python(self, lines: str, *arguments: str) -> str:
        return self._said([str(self._programs / "python"), "-c", lines, *arguments], {})

    def _said(self, command: list[str], settings: Mapping[str, str]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment | settings, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(command[:4])} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout


def main() -> None:
    programs, folder = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        sys.exit(f"{folder} is not empty")
    anyseek = Installed(programs, folder)
    for check in (_where, _commands, _weights, _pictures, _service):
        _say(check(anyseek))
    if "--demo" in sys.argv:
        _say(_demo(anyseek))


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def _where(anyseek: Installed) -> str:
    """Nothing comes from a folder of sources, and the version is one."""
    version, *files = anyseek.python(_WHERE).split()
    assert all("site-packages" in file for file in files), files
    assert anyseek("--version").split()[-1] == version
    return f"version {version}, from site-packages"


def _commands(anyseek: Installed) -> str:
    names = re.findall(r"^  ([a-z]+) {2,}\S", anyseek("--help").partition("Commands:")[2], re.MULTILINE)
    for name in names:
        assert "Usage:" in anyseek(name, "--help"), name
    assert len(names) > 15, names
    return f"{len(names)} commands tell their help"


def _weights(anyseek: Installed) -> str:
    """The bundled weights are inside, and what they look through is fetched."""
    anyseek("models", "pull", "encoders")
    assert "4m-tiny" in anyseek("models", "list")
    return "the encoders are pulled"


def _pictures(anyseek: Installed) -> str:
    """Photos of the demo, which ship inside, are indexed: the database is made by the migrations."""
    pictures = anyseek.folder / "pictures"
    pictures.mkdir()
    anyseek.python(_MAKE_PICTURES, str(pictures))
    anyseek("index", str(pictures), "--collection", "mine")
    hits = json.loads(anyseek("query", "--collection", "mine", "a photo", "-k", "3", "--json"))["hits"]
    assert len(hits) == 3, hits
    (first,) = json.loads(
        anyseek("query", "--collection", "mine", "--input", "rgb=pictures/2.jpg", "-k", "1", "--json")
    )["hits"]
    assert first["key"] == "2.jpg", first
    assert "agree" in anyseek("verify")
    anyseek("backup", "all.tar")
    assert "5 items" in anyseek("restore", "all.tar", ANYSEEK_HOME=str(anyseek.folder / "restored"))
    return "5 photos are indexed, found, verified, backed up and restored with the bundled weights"


def _service(anyseek: Installed) -> str:
    command = [str(anyseek._programs / "anyseek"), "serve", "--port", "0"]
    where = {"cwd": anyseek.folder, "env": anyseek.environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **where, **pipes) as served:
        try:
            assert served.stdout
            url = served.stdout.readline().split()[-1]
            for path in _FILES:
                assert _get(url + path), path
            hits = json.loads(_get(f"{url}/v1/collections/mine/query?item=2.jpg&k=1"))["hits"]
            assert hits[0]["key"] == "2.jpg"
            assert _get(f"{url}/v1/collections/mine/thumbnails/2.jpg").startswith((b"\xff\xd8", b"\x89PNG", b"RIFF"))
        finally:
            served.terminate()
    return f"the service answers, with its page: {len(_FILES)} files"


def _get(url: str) -> bytes:
    """The answer, once the model is loaded."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(120):
        try:
            with opener.open(url, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            time.sleep(0.5)
    sys.exit(f"{url} is not ready")


def _demo(anyseek: Installed) -> str:
    said = anyseek("demo", "--no-serve")
    found = {
        held["name"]: held["items"] for held in map(json.loads, anyseek("collections", "list", "--json").splitlines())
    }
    assert found["openmoji"] > 2_000, found
    assert (found["rooms"], found["photos"]) == (300, 200), found
    return f"the demo indexes {sum(found.values()):,} pictures and says {len(said.splitlines())} lines"


if __name__ == "__main__":
    main()
