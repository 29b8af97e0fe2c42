"""Pulling with the Hub's own library from a server that answers as the Hub does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save

from anyseek.model.checkpoints.files import load_tokenizer
from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.errors import CheckpointMismatch, UnknownModel, WeightsCorrupt
from anyseek.model.fourm.published import names
from anyseek.model.fourm.published.loading import load_published
from anyseek.model.fourm.published.pull import needed, pull_published
from anyseek.model.fourm.published.store import (
    CONFIG_FILE,
    MODEL_FILE,
    State,
    folder_of,
    incoming_folder,
    installed,
    state_of,
)
from anyseek.model.network.config import ConfigInvalid
from tests.model.fourm.published.local_hub import COMMIT, LocalHub
from tests.random_weights import SHARED_VOCABULARY

NETWORK, POSES = "4M-21_B", names.HUMAN_POSES
REPOSITORY = f"EPFL-VILAB/{POSES}"
Offer = Callable[..., None]
Weights = Callable[[str], bytes]


def pull(hub: LocalHub, home: Path, *wanted: str) -> list[str]:
    records = pull_published(wanted, home, lambda line: None, hub.url, f"{hub.url}/vocabulary")
    return [record.name for record in records]


def test_a_network_needs_its_tokenizers_and_the_vocabulary(tmp_path: Path, published_home: Path) -> None:
    row = names.published(NETWORK)
    assert needed(f"EPFL-VILAB/{NETWORK}", tmp_path) == [NETWORK, *row.needs, names.VOCABULARY]
    assert len(row.needs) == 12
    assert needed("4M-7-T2I_XL_CC12M", published_home) == ["4M-7-T2I_XL_CC12M"]
    assert needed(POSES, tmp_path) == [POSES]
    assert needed(NETWORK, published_home) == []
    with pytest.raises(UnknownModel, match="4M-21_XL"):
        needed("4M-22", tmp_path)


def test_everything_pulled_is_what_was_published(
    hub: LocalHub, offer: Offer, tmp_path: Path, published_home: Path
) -> None:
    wanted = [name for name in needed(NETWORK, tmp_path) if name != names.VOCABULARY]
    offer(*wanted)
    assert pull(hub, tmp_path, *wanted) == wanted
    for name in wanted:
        assert installed(name, tmp_path).fingerprint == installed(name, published_home).fingerprint
    assert installed(NETWORK, tmp_path).source == f"EPFL-VILAB/{NETWORK}@{COMMIT}"
    assert list((tmp_path / "models" / ".incoming").glob("*/*")) == []
    assert load_published(NETWORK, tmp_path).parts.network.config.dim == 32


@pytest.mark.skipif(not SHARED_VOCABULARY.exists(), reason="the published vocabulary is not here")
def test_the_vocabulary_is_checked_and_installed(hub: LocalHub, tmp_path: Path) -> None:
    hub.others["/vocabulary"] = SHARED_VOCABULARY.read_bytes()
    assert pull(hub, tmp_path, names.VOCABULARY) == [names.VOCABULARY]
    assert needed(names.VOCABULARY, tmp_path) == []


def test_another_vocabulary_is_refused(hub: LocalHub, tmp_path: Path) -> None:
    hub.others["/vocabulary"] = b"{}"
    with pytest.raises(WeightsCorrupt, match="8e684e9a"):
        pull(hub, tmp_path, names.VOCABULARY)
    assert state_of(names.VOCABULARY, tmp_path) is not State.INSTALLED


def test_a_config_beside_the_weights_is_read(hub: LocalHub, weights: Weights, tmp_path: Path) -> None:
    config, bare = _split(weights(POSES), tmp_path)
    hub.large[REPOSITORY, MODEL_FILE] = bare
    hub.small[REPOSITORY, CONFIG_FILE] = json.dumps(config).encode()
    pull(hub, tmp_path, POSES)
    assert set(installed(POSES, tmp_path).files) == {MODEL_FILE, CONFIG_FILE}
    assert load_tokenizer(folder_of(POSES, tmp_path) / MODEL_FILE).config.num_codebooks == 8


def test_a_config_that_is_not_read_is_not_kept(hub: LocalHub, offer: Offer, tmp_path: Path) -> None:
    offer(POSES)
    hub.small[REPOSITORY, CONFIG_FILE] = b"{}"
    pull(hub, tmp_path, POSES)
    assert set(installed(POSES, tmp_path).files) == {MODEL_FILE}


def _split(data: bytes, scratch: Path) -> tuple[dict[str, object], bytes]:
    """The config of a checkpoint as JSON on the Hub would hold it, and the weights without it."""
    path = scratch / "whole.safetensors"
    path.write_bytes(data)
    with safe_open(path, framework="pt") as file:
        config = {key: int(value) if value.isdigit() else value for key, value in file.metadata().items()}
    return config, save(load_file(path), {"format": "pt"})


def test_a_connection_that_breaks_is_taken_up_again(hub: LocalHub, offer: Offer, tmp_path: Path) -> None:
    offer(NETWORK)
    hub.breaks, hub.bytes_before_break = 1, 25_000_000
    pull(hub, tmp_path, NETWORK)
    first, second = hub.downloads(MODEL_FILE)
    assert first == ""
    assert int(second.removeprefix("bytes=").removesuffix("-")) >= 10_000_000


@pytest.mark.slow
def test_a_server_that_is_gone_leaves_what_came(
    hub: LocalHub, offer: Offer, tmp_path: Path, published_home: Path
) -> None:
    offer(NETWORK)
    hub.dying, hub.bytes_before_break = True, 25_000_000
    wanted = hub.large[f"EPFL-VILAB/{NETWORK}", MODEL_FILE]
    part = incoming_folder(NETWORK, tmp_path)
    with pytest.raises(DownloadFailed, match=f"{MODEL_FILE} of EPFL-VILAB/{NETWORK}"):
        pull(hub, tmp_path, NETWORK)
    assert state_of(NETWORK, tmp_path) is State.INCOMPLETE
    came = sum(path.stat().st_size for path in part.iterdir())
    assert 10_000_000 <= came < len(wanted)
    hub.dying = False
    hub.requests.clear()
    pull(hub, tmp_path, NETWORK)
    assert hub.downloads(MODEL_FILE) == [f"bytes={came}-"]
    assert installed(NETWORK, tmp_path).fingerprint == installed(NETWORK, published_home).fingerprint


@pytest.mark.parametrize(
    ("stated", "error", "says"),
    [
        ({"X-Linked-Size": str(10**8)}, DownloadFailed, "should be of size 100000000"),
        ({"X-Linked-Etag": f'"{"0" * 64}"'}, WeightsCorrupt, "have the checksum"),
        ({"X-Linked-Etag": '"7"'}, DownloadFailed, "not a checksum"),
        ({"ETag": f'"{"0" * 40}"'}, WeightsCorrupt, CONFIG_FILE),  # of the small file
    ],
)
def test_a_file_that_is_not_what_the_hub_states_is_not_installed(
    hub: LocalHub, offer: Offer, tmp_path: Path, stated: dict[str, str], error: type[Exception], says: str
) -> None:
    offer(POSES)
    hub.small[REPOSITORY, CONFIG_FILE] = b"{}"
    hub.stated = stated
    with pytest.raises(error, match=says):
        pull(hub, tmp_path, POSES)
    assert state_of(POSES, tmp_path) is not State.INSTALLED
    assert not (incoming_folder(POSES, tmp_path) / MODEL_FILE).exists()
    hub.stated = {}
    assert pull(hub, tmp_path, POSES) == [POSES]


def test_weights_of_another_network_are_not_installed(hub: LocalHub, weights: Weights, tmp_path: Path) -> None:
    hub.large[f"EPFL-VILAB/{NETWORK}", MODEL_FILE] = weights(names.CLIP)
    with pytest.raises(ConfigInvalid, match="domains_in"):
        pull(hub, tmp_path, NETWORK)
    assert state_of(NETWORK, tmp_path) is State.INCOMPLETE
    hub.large[f"EPFL-VILAB/{names.CLIP}", MODEL_FILE] = _with_another_tensor(weights(names.CLIP), tmp_path)
    with pytest.raises(CheckpointMismatch, match=r"missing encoder\.pos_emb; unexpected other"):
        pull(hub, tmp_path, names.CLIP)


def _with_another_tensor(data: bytes, scratch: Path) -> bytes:
    path = scratch / "whole.safetensors"
    path.write_bytes(data)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["other"] = tensors.pop("encoder.pos_emb")
    return save(tensors, metadata)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [(NETWORK, "did not deliver model.safetensors"), (names.VOCABULARY, "the vocabulary could not be fetched")],
)
@pytest.mark.parametrize("port", [None, 9])  # a Hub without the files, and none at all
def test_what_cannot_be_fetched_says_what_to_do_without_internet(
    wanted: str, says: str, port: int | None, hub: LocalHub, tmp_path: Path
) -> None:
    with pytest.raises(DownloadFailed, match=rf"{says}(?s:.*)copy the folders below `models/`"):
        pull(hub if port is None else LocalHub(port=port), tmp_path, wanted)


def test_a_disk_that_is_too_small_is_found_out_before(hub: LocalHub, offer: Offer, tmp_path: Path) -> None:
    offer(POSES)
    hub.stated = {"X-Linked-Size": str(10**15)}
    with pytest.raises(DownloadFailed, match=r"GB free; 1000000\.00 GB"):
        pull(hub, tmp_path, POSES)
    assert hub.downloads(MODEL_FILE) == []


def _start_pull(hub: LocalHub, home: Path) -> "subprocess.Popen[str]":
    """`pull_published` of the network in a process of its own."""
    program = (
        "import sys; from pathlib import Path; from anyseek.model.fourm.published.pull import pull_published; "
        "pull_published([sys.argv[1]], Path(sys.argv[2]), lambda line: print(line, flush=True))"
    )
    environment = os.environ | {"HF_ENDPOINT": hub.url}
    command = [sys.executable, "-c", program, NETWORK, str(home)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_pull_goes_on_where_it_was(hub: LocalHub, offer: Offer, tmp_path: Path) -> None:
    offer(NETWORK)
    hub.bytes_a_second = 40_000_000
    with _start_pull(hub, tmp_path) as process:
        _wait_until(lambda: hub.sent > 25_000_000)
        process.send_signal(signal.SIGKILL)
    assert state_of(NETWORK, tmp_path) is State.INCOMPLETE
    hub.bytes_a_second = float("inf")
    pull(hub, tmp_path, NETWORK)
    first, second = hub.downloads(MODEL_FILE)
    assert first == ""
    assert int(second.removeprefix("bytes=").removesuffix("-")) >= 10_000_000
    assert load_published(NETWORK, tmp_path).parts.network.config.dim == 32


@pytest.mark.slow
def test_two_pulls_at_once_fetch_once(hub: LocalHub, offer: Offer, tmp_path: Path) -> None:
    offer(NETWORK)
    hub.bytes_a_second = 20_000_000
    with _start_pull(hub, tmp_path) as first:
        _wait_until(lambda: hub.sent > 0)
        with _start_pull(hub, tmp_path) as second:
            said = second.communicate(timeout=60)[0]
        assert (first.wait(60), second.returncode) == (0, 0)
    assert "another process is at it; waiting" in said
    assert hub.downloads(MODEL_FILE) == [""]
    assert state_of(NETWORK, tmp_path) is State.INSTALLED
