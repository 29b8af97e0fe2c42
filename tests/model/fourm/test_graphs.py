"""Graphs of passes: the same vectors whatever was computed before, beside and after, by stand-ins for torch's."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from anyseek.model.fourm import graphs as capturing
from anyseek.model.fourm.graphs import Graphs, graphs_for, shape_of
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.tokens import Fill, ModalityInput
from anyseek.model.network.transformer import FourM
from anyseek.model.switches import Switches, switching
from tests.simulated_graphs import Cuda, Graph, install

Inputs = dict[str, ModalityInput]
CPU = torch.device("cpu")
GLOBALS = ("tok_visual", "tok_semantic")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return install(monkeypatch)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def compute(network: FourM) -> Callable[..., dict[str, Tensor]]:
    return lambda inputs, fill: network.decode_global(network.encode(inputs, fill), GLOBALS)


@pytest.fixture
def graphs(small_config: FourMConfig, cuda: Cuda) -> Graphs:
    return Graphs(small_config, CPU)


def _batch(*lengths: int, seed: int = 0, pictures: bool = True) -> Inputs:
    """A row for each length, with as many states and half as many colours, and other numbers for another seed."""
    generator = torch.Generator().manual_seed(seed)
    rows, longest = len(lengths), max(lengths)
    entries = torch.arange(longest)[None, :]
    used = torch.tensor(lengths)[:, None]
    inputs = {
        "states": ModalityInput(torch.randn(rows, longest, 6, generator=generator), entries >= used),
        "palette": ModalityInput(torch.randint(0, 40, (rows, longest), generator=generator), entries >= used // 2),
    }
    if pictures:
        seen = ModalityInput(torch.randn(rows, 8, 3, 3, generator=generator), torch.zeros(rows, 9, dtype=torch.bool))
        inputs = {"map": seen, **inputs}
    return inputs


def _pictures(rows: int, seed: int = 0, thinned: int = 0) -> Inputs:
    values = torch.randn(rows, 8, 3, 3, generator=torch.Generator().manual_seed(seed))
    return {"map": ModalityInput(values, (torch.arange(9) < thinned).expand(rows, -1))}


def _fill(inputs: Inputs) -> Fill:
    return Fill.of(given.mask for given in inputs.values())


def _check(found: dict[str, Tensor], inputs: Inputs, compute: Callable[..., dict[str, Tensor]]) -> None:
    expected = compute(inputs, _fill(inputs))
    assert found.keys() == expected.keys()
    for key, rows in found.items():
        torch.testing.assert_close(rows, expected[key], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "batches",
    [
        [_batch(4), _batch(4, seed=1), _batch(4, seed=2)],
        [_batch(9), _batch(6, seed=1), _batch(15, seed=2), _batch(7, seed=3)],
        [_batch(3, 1, 7, 4), _batch(2, 6, 1, seed=1), _batch(6, 6, 6, 6, seed=2), _batch(3, 6, 1, seed=3)],
        [_batch(3, pictures=False), _batch(11, seed=1, pictures=False), _batch(2, seed=2, pictures=False)],
        [_pictures(4), _pictures(3, seed=1), _pictures(4, seed=2)],
        [_pictures(1, thinned=4), _pictures(1, seed=1, thinned=4), _pictures(1, seed=2, thinned=4)],
    ],
    ids=["the same lengths", "other lengths", "other rows", "texts", "pictures", "thinned pictures"],
)
def test_one_graph_gives_what_the_network_gives(
    graphs: Graphs, cuda: Cuda, compute: Callable[..., dict[str, Tensor]], batches: list[Inputs]
) -> None:
    """For batches of a shape one after the other, of which the first two are computed and captured."""
    for inputs in batches:
        _check(graphs.run(compute, inputs, _fill(inputs), "both"), inputs, compute)
    (graph,) = cuda.graphs
    assert graph.replays == len(batches) - 1


def test_what_was_given_out_stays_when_graphs_run_again(
    graphs: Graphs, cuda: Cuda, compute: Callable[..., dict[str, Tensor]]
) -> None:
    kept = []
    for seed in range(3):
        for inputs in (_batch(4, seed=seed), _pictures(2, seed=seed)):
            kept.append((graphs.run(compute, inputs, _fill(inputs), "both"), inputs))
    assert len(cuda.graphs) == 2
    for found, inputs in kept:
        _check(found, inputs, compute)


def test_what_is_asked_for_is_a_graph_of_its_own(
    graphs: Graphs, cuda: Cuda, compute: Callable[..., dict[str, Tensor]]
) -> None:
    inputs = _batch(4)
    for _ in range(2):
        assert graphs.run(compute, inputs, _fill(inputs), "both").keys() == set(GLOBALS)
        alone = graphs.run(lambda *given: {"one": compute(*given)["tok_visual"]}, inputs, _fill(inputs), "one")
        assert alone.keys() == {"one"}
    assert len(cuda.graphs) == 2


def test_rows_and_entries_are_padded_to_powers_of_two(small_config: FourMConfig) -> None:
    inputs = _batch(3, 17, 8)
    shape = shape_of(small_config, inputs, _fill(inputs), "asked")
    assert shape is not None
    assert (shape.rows, [room.tokens for room in shape.rooms]) == (4, [9, 32, 32])
    assert [room.values for room in shape.rooms] == [(8, 3, 3), (32, 6), (32,)]
    assert shape.fill == Fill(64, 0)
    shorter = _batch(20, 20, 30, 18, seed=1)
    assert shape_of(small_config, shorter, _fill(shorter), "asked") == shape


@pytest.mark.parametrize("thinned", [0, 4])
def test_pictures_that_are_seen_alike_have_no_mask(small_config: FourMConfig, thinned: int) -> None:
    inputs = _pictures(3, thinned=thinned)
    shape = shape_of(small_config, inputs, _fill(inputs), "asked")
    assert shape is not None
    assert shape.fill == Fill(9 - thinned, 9 - thinned)


def test_pictures_that_some_rows_lack_have_a_mask(small_config: FourMConfig) -> None:
    inputs = _pictures(3)
    codes = torch.zeros(3, 16, dtype=torch.long)
    mask = torch.zeros(3, 16, dtype=torch.bool)
    mask[1] = True
    inputs = {**inputs, "tok_visual": ModalityInput(codes, mask)}
    shape = shape_of(small_config, inputs, _fill(inputs), "asked")
    assert shape is not None
    assert shape.fill == Fill(25, 0)


def test_large_batches_and_rows_without_tokens_have_no_graph(small_config: FourMConfig) -> None:
    many = _pictures(17)
    assert shape_of(small_config, many, _fill(many), "asked") is None
    empty = _pictures(2, thinned=9)
    assert shape_of(small_config, empty, _fill(empty), "asked") is None
    full = _pictures(16)
    assert shape_of(small_config, full, _fill(full), "asked") is not None


def test_the_shape_that_was_not_used_for_longest_goes(
    graphs: Graphs, cuda: Cuda, compute: Callable[..., dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "KEPT", 2)

    def run(rows: int) -> None:
        inputs = _pictures(rows)
        _check(graphs.run(compute, inputs, _fill(inputs), "both"), inputs, compute)

    for rows in (1, 1, 2, 2):
        run(rows)
    first, second = cuda.graphs
    run(1)
    run(4)  # so that of two rows goes
    run(1)
    assert (first.replays, second.replays) == (3, 1)
    run(2)
    run(2)
    assert len(cuda.graphs) == 3
    assert second.replays == 1


def test_a_capture_warms_up_on_a_stream_of_its_own(
    graphs: Graphs, cuda: Cuda, compute: Callable[..., dict[str, Tensor]]
) -> None:
    passes, inputs = [], _pictures(1)

    def counted(given: Inputs, fill: Fill) -> dict[str, Tensor]:
        passes.append(cuda.current_stream().name)
        return compute(given, fill)

    for _ in range(3):
        graphs.run(counted, inputs, _fill(inputs), "both")
    assert passes == ["own", *["side"] * 3, "side"]
    assert cuda.seen == ["side waits for own", "own waits for side", "captured on side", "own waits for what own did"]


def test_where_a_capture_fails_passes_go_on_without_graphs(
    graphs: Graphs, cuda: Cuda, compute: Callable[..., dict[str, Tensor]], caplog: pytest.LogCaptureFixture
) -> None:
    cuda.failing = "out of\nmemory"
    for rows in (1, 1, 1, 2, 2, 2):
        inputs = _pictures(rows)
        _check(graphs.run(compute, inputs, _fill(inputs), "both"), inputs, compute)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "CUDA graphs cannot be used, so passes start kernel by kernel: out of memory"
    ]
    assert cuda.current_stream().name == "own"
    assert cuda.seen == ["side waits for own", "own waits for side"]  # no second attempt


def test_a_pass_that_waits_for_the_card_is_not_captured(
    graphs: Graphs, cuda: Cuda, caplog: pytest.LogCaptureFixture
) -> None:
    def waiting(inputs: Inputs, fill: Fill) -> dict[str, Tensor]:
        values = inputs["map"].values.flatten(1)
        return {"sum": values.sum(dim=1) * len(values.nonzero())}  # how many there are is known when they are made

    inputs = _pictures(1)
    for _ in range(3):
        found = graphs.run(waiting, inputs, _fill(inputs), "sum")["sum"]
        torch.testing.assert_close(found, 72 * inputs["map"].values.sum()[None])
    assert "not permitted when stream is capturing" in caplog.text
    assert not cuda.graphs


def test_several_threads_each_get_their_own(
    graphs: Graphs, cuda: Cuda, compute: Callable[..., dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    replay, together = Graph.replay, threading.Barrier(4)

    def slowly(graph: Graph) -> None:
        time.sleep(0.002)  # in which another thread would have written its inputs
        replay(graph)
        time.sleep(0.002)

    monkeypatch.setattr(Graph, "replay", slowly)
    expected = {}
    for seed in range(16):
        inputs = _pictures(1 + seed % 2, seed=seed)
        expected[seed] = compute(inputs, _fill(inputs))

    @torch.inference_mode()
    def run(worker: int) -> list[tuple[int, dict[str, Tensor]]]:
        together.wait()
        seeds = range(worker, 16, 4)
        batches = [_pictures(1 + seed % 2, seed=seed) for seed in seeds]
        return [
            (seed, graphs.run(compute, inputs, _fill(inputs), "both"))
            for seed, inputs in zip(seeds, batches, strict=True)
        ]

    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(run, range(4)):
            for seed, rows in found:
                for key in GLOBALS:
                    torch.testing.assert_close(rows[key], expected[seed][key], atol=1e-5, rtol=1e-5)
    assert len(cuda.graphs) == 2


def test_a_cpu_has_no_graphs_and_a_card_only_if_they_are_on(network: FourM, cuda: Cuda) -> None:
    assert graphs_for(network) is None
    network.mask_token = _OnCard()  # type: ignore[assignment]
    assert graphs_for(network) is not None
    with switching(Switches(cuda_graphs=False)):
        assert graphs_for(network) is None


class _OnCard(torch.nn.Parameter):
    device = torch.device("cuda:0")  # type: ignore[assignment]
