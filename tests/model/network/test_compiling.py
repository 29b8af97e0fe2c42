"""Compiled blocks: the same network, compiled a few times for all shapes, and refused where nothing can compile."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from anyseek.model.errors import BadDevice
from anyseek.model.fourm.graphs import Graphs
from anyseek.model.network import compiling
from anyseek.model.network.compiling import check_compiler, compile_blocks, compile_where_asked
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.tokens import Fill, ModalityInput
from anyseek.model.network.transformer import FourM
from anyseek.model.switches import Switches, switching
from tests.simulated_graphs import install

Inputs = dict[str, ModalityInput]
GLOBALS = ("tok_visual", "tok_semantic")
CARD = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    """What other tests compiled would count towards the limit of torch for each block."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def _colours(rows: int, length: int, unused: int) -> Inputs:
    ids = torch.randint(0, 40, (rows, length), generator=torch.Generator().manual_seed(rows * length))
    mask = torch.zeros(rows, length, dtype=torch.bool)
    mask[0, length - unused :] = True
    return {"palette": ModalityInput(ids, mask)}


@torch.inference_mode()
def _logits(network: FourM, inputs: Inputs) -> dict[str, torch.Tensor]:
    return network.decode_global(network.encode(inputs, Fill.of(given.mask for given in inputs.values())), GLOBALS)


def test_compiled_blocks_compute_what_they_did(network: FourM, small_inputs: Inputs) -> None:
    batches = [small_inputs, _colours(1, 5, 0), _colours(3, 7, 2)]
    expected = [_logits(network, inputs) for inputs in batches]
    names = list(network.state_dict())
    compile_blocks(network, "aot_eager")
    assert list(network.state_dict()) == names
    for inputs, logits in zip(batches, expected, strict=True):
        for key, found in _logits(network, inputs).items():
            torch.testing.assert_close(found, logits[key], atol=1e-5, rtol=1e-5)


def test_blocks_are_compiled_once_for_all_numbers_of_rows_and_tokens(network: FourM) -> None:
    compiled = []

    def backend(graph: Any, examples: Any) -> Callable[..., Any]:
        compiled.append(graph)
        return graph.forward  # type: ignore[no-any-return]

    compile_blocks(network, backend)
    for rows, length, unused in ((3, 6, 1), (3, 6, 0)):
        _logits(network, _colours(rows, length, unused))
    seen = len(compiled)
    assert seen >= 4  # a block of each kind, with a mask and without
    for rows, length, unused in ((2, 9, 0), (5, 4, 3), (7, 30, 0), (16, 12, 11)):
        _logits(network, _colours(rows, length, unused))
    assert len(compiled) == seen


def test_graphs_capture_compiled_blocks(
    network: FourM, small_config: FourMConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [_colours(2, length, 1) for length in (4, 9, 6)]
    expected = [_logits(network, inputs) for inputs in batches]
    compile_blocks(network, "eager")
    cuda = install(monkeypatch)
    graphs = Graphs(small_config, torch.device("cpu"))
    with torch.inference_mode():
        for inputs, logits in zip(batches, expected, strict=True):
            found = graphs.run(
                lambda given, fill: network.decode_global(network.encode(given, fill), GLOBALS),
                inputs,
                Fill.of(given.mask for given in inputs.values()),
                "both",
            )
            for key in GLOBALS:
                torch.testing.assert_close(found[key], logits[key], atol=1e-5, rtol=1e-5)
    assert [graph.replays for graph in cuda.graphs] == [2]


class _OnCard(torch.nn.Parameter):
    device = CARD  # type: ignore[assignment]


def test_blocks_are_compiled_on_a_card_where_it_is_asked(network: FourM, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[FourM] = []
    monkeypatch.setattr(compiling, "check_compiler", lambda: None)
    monkeypatch.setattr(compiling, "compile_blocks", asked.append)
    with switching(Switches(compile=True)):
        compile_where_asked(network)
        assert not asked  # on a CPU
        network.mask_token = _OnCard()  # type: ignore[assignment]
        with switching(Switches()):
            compile_where_asked(network)
        assert not asked
        compile_where_asked(network)
    assert asked == [network]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with all that compiling needs; its folder of headers."""
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(compiling, "find_spec", lambda name: object())
    monkeypatch.setattr(compiling.shutil, "which", lambda name: f"/bin/{name}" if name in ("gcc", "mycc") else None)
    monkeypatch.setattr(compiling.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    return tmp_path


def test_a_machine_with_everything_may_compile(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_compiler()
    monkeypatch.setenv("CC", "mycc")
    check_compiler()


def test_what_is_missing_is_said(machine: Path, network: FourM, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal() -> str:
        with pytest.raises(BadDevice) as raised, switching(Switches(compile=True)):
            compile_where_asked(network)
        return str(raised.value)

    network.mask_token = _OnCard()  # type: ignore[assignment]
    (machine / "Python.h").unlink()
    assert refusal() == (
        "ANYSEEK_COMPILE cannot be used: Python's headers are not installed; install them, "
        "or set ANYSEEK_COMPILE to false"
    )
    monkeypatch.setenv("CC", "nocc")
    assert "there is no C compiler; install gcc, or have CC name one, or set" in refusal()
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    assert "Triton is not installed; install the package triton, or set ANYSEEK_COMPILE to false" in refusal()
