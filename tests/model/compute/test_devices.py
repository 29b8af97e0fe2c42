"""Names of devices, and what is refused where there is no card; `tests/model/fourm/test_devices.py` computes on one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from anyseek.model.compute.devices import is_device, split_device
from anyseek.model.compute.placement import device_of_process, torch_device
from anyseek.model.errors import BadDevice
from anyseek.model.registry.loading import load_model
from anyseek.model.seam import Sample


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Has torch find that many cards."""

    def find(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    allowed = torch.backends.cudnn.allow_tf32
    yield find
    torch.backends.cudnn.allow_tf32 = allowed


@pytest.mark.parametrize(
    ("name", "model", "device"),
    [
        ("4m-tiny", "4m-tiny", None),
        ("4m-tiny:device=cuda", "4m-tiny", "cuda"),
        ("4M-21_B:device=cuda:1", "4M-21_B", "cuda:1"),
        ("4M-21_B:device=auto,dtype=bfloat16", "4M-21_B:dtype=bfloat16", "auto"),
        ("4M-21_B:dtype=bfloat16,device=cpu", "4M-21_B:dtype=bfloat16", "cpu"),
        ("4M-21_B:dtype=bfloat16,device=cuda:1,token_budget=9", "4M-21_B:dtype=bfloat16,token_budget=9", "cuda:1"),
        ("openclip:ViT-B-32/laion2b:device=cuda", "openclip:ViT-B-32/laion2b", "cuda"),
        ("openclip:local-dir:/models/device=x/y", "openclip:local-dir:/models/device=x/y", None),
        ("/folder/of:weights:device=cpu", "/folder/of:weights", "cpu"),
    ],
)
def test_a_device_is_taken_off_a_model_s_name(name: str, model: str, device: str | None) -> None:
    assert split_device(name) == (model, device)


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "meta", "CPU", "cuda:1234"])
def test_what_is_no_device_is_refused_with_what_would_be(device: str) -> None:
    assert not is_device(device)
    with pytest.raises(BadDevice, match="must be cpu, cuda, cuda:N for card N counted from 0, or auto"):
        split_device(f"4m-tiny:device={device}")
    with pytest.raises(BadDevice, match="must be cpu, cuda"):
        torch_device(device)


def test_a_device_is_said_once() -> None:
    with pytest.raises(BadDevice, match="twice"):
        split_device("4M-21_B:device=cuda,device=cpu")


def test_without_a_card_a_card_is_refused_and_auto_is_the_cpu(cards: Callable[[int], None]) -> None:
    cards(0)
    assert torch_device("cpu") == torch_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:1"):
        with pytest.raises(BadDevice, match=rf"^{name} cannot be used: .* set ANYSEEK_DEVICE to cpu, or to auto"):
            torch_device(name)


def test_a_card_is_chosen_by_its_number(cards: Callable[[int], None]) -> None:
    cards(2)
    torch.backends.cudnn.allow_tf32 = True
    assert torch_device("cpu") == torch.device("cpu")
    assert torch.backends.cudnn.allow_tf32
    assert torch_device("auto") == torch_device("cuda") == torch.device("cuda:0")
    assert torch_device("cuda:1") == torch.device("cuda:1")
    assert not torch.backends.cudnn.allow_tf32  # vectors in float32 are those of a CPU
    with pytest.raises(BadDevice, match=r"cuda:2 cannot be used: the last of the 2 cards here is cuda:1"):
        torch_device("cuda:2")


def test_processes_take_a_card_each(cards: Callable[[int], None]) -> None:
    cards(2)
    assert [device_of_process("cuda", number) for number in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [device_of_process("auto", number) for number in range(2)] == ["cuda:0", "cuda:1"]
    assert device_of_process("cuda:1", 0) == "cuda:1"
    assert device_of_process("cpu", 3) == "cpu"
    cards(0)
    assert device_of_process("auto", 1) == "auto"
    with pytest.raises(BadDevice):
        torch_device(device_of_process("cuda", 1))


def test_a_model_is_loaded_by_its_name_without_the_device(tmp_path: Path) -> None:
    model = load_model("hashing:device=cpu", tmp_path)
    assert model.name == "hashing"
    assert model.embed([Sample({"caption": "a bus"})], list(model.spaces))
