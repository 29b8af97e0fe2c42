"""Which encoder is chosen, that all give the same features, and what happens where OpenVINO fails."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anyseek.model.compute.device_parity import LEAST_COSINE
from anyseek.model.compute.processors import SHARING
from anyseek.model.encoders import compiled, fastest
from anyseek.model.encoders.compiled import CompiledEncoder, Division, division_for, is_installed
from anyseek.model.encoders.efficientnet import EfficientNetLite0, Features, load_efficientnet
from anyseek.model.encoders.fastest import FastestEncoder, least_cosine, load_fastest
from anyseek.model.encoders.fused import FusedConv, can_fuse
from anyseek.model.encoders.preprocess import encoder_input, picture_pixels
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.errors import WeightsMissing
from anyseek.model.galleries.photos import read_photos

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
needs_openvino = pytest.mark.skipif(not is_installed(), reason="openvino is not installed")


@pytest.fixture
def network() -> EfficientNetLite0:
    """With random weights that keep the size of what passes."""
    torch.manual_seed(0)
    network = EfficientNetLite0().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return network


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 2 - 1


def _copy(network: EfficientNetLite0) -> EfficientNetLite0:
    copy = EfficientNetLite0().eval().requires_grad_(False)
    copy.load_state_dict(network.state_dict())
    return copy


@torch.inference_mode()
def test_without_openvino_torch_computes_the_same(network: EfficientNetLite0, pixels: torch.Tensor) -> None:
    expected, levels = network(pixels), network.levels(pixels)
    encoder = FastestEncoder(_copy(network), compiling=False)
    assert least_cosine(encoder(pixels), expected) > LEAST_COSINE
    for one, other in zip(encoder.levels(pixels), levels, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


@needs_openvino
@torch.inference_mode()
def test_openvino_computes_the_same_for_any_number_of_pictures_and_threads(
    network: EfficientNetLite0, pixels: torch.Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, threads = FastestEncoder(network, compiling=True), torch.get_num_threads()
    together = encoder(pixels)
    assert isinstance(encoder._encoder, CompiledEncoder)
    assert least_cosine(together, network(pixels)) > LEAST_COSINE
    assert [getattr(together, name).dtype for name in ("grid", "parts")] == [torch.float32] * 2
    try:
        torch.set_num_threads(threads + 1)
        for row in range(len(pixels)):
            alone = encoder(pixels[row : row + 1])
            torch.testing.assert_close(alone.pooled[0], together.pooled[row], atol=1e-4, rtol=1e-4)
    finally:
        torch.set_num_threads(threads)
    assert not caplog.records


def test_a_machine_where_openvino_fails_has_one_warning_and_torch(
    network: EfficientNetLite0, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with an openvino whose libraries do not load, or without a compiler for this processor."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    expected = _copy(network)(pixels)
    encoder = FastestEncoder(network, compiling=True)
    with caplog.at_level(logging.WARNING), torch.inference_mode():
        found = [encoder(pixels) for _ in range(3)]
    assert [least_cosine(each, expected) > LEAST_COSINE for each in found] == [True] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "OpenVINO cannot be used, so torch computes instead" in caplog.text
    assert isinstance(encoder._encoder, EfficientNetLite0)
    assert isinstance(encoder._encoder.stem, FusedConv) == can_fuse()


def _lacking(network: EfficientNetLite0) -> EfficientNetLite0:
    raise RuntimeError("this processor lacks it")


def _another(network: EfficientNetLite0) -> EfficientNetLite0:
    other = _copy(network)
    torch.nn.init.zeros_(other.classifier.weight)
    return other


def _without_numbers(network: EfficientNetLite0) -> EfficientNetLite0:
    other = _copy(network)
    torch.nn.init.constant_(other.classifier.weight, float("nan"))
    return other


@pytest.mark.parametrize(
    ("broken", "says"),
    [(_lacking, "lacks it"), (_another, "give other features"), (_without_numbers, "give other features")],
)
@torch.inference_mode()
def test_a_processor_where_fusing_goes_wrong_has_one_warning_and_the_layers_of_torch(
    network: EfficientNetLite0,
    pixels: torch.Tensor,
    broken: Callable[[EfficientNetLite0], EfficientNetLite0],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fastest, "can_fuse", lambda: True)
    monkeypatch.setattr(fastest, "fused", broken)
    expected = network(pixels)
    with caplog.at_level(logging.WARNING):
        encoder = FastestEncoder(network, compiling=False)
        for _ in range(2):
            torch.testing.assert_close(encoder(pixels).logits, expected.logits)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert says in caplog.text


def test_an_openvino_that_computes_something_else_is_left_alone(
    network: EfficientNetLite0, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def rounding(network: EfficientNetLite0) -> object:
        def features(pixels: torch.Tensor) -> Features:
            found = network(pixels)
            return Features(found.grid, found.pooled + 0.1 * found.pooled.std(), found.logits, found.parts)

        return features

    monkeypatch.setattr(fastest, "CompiledEncoder", rounding)
    expected = _copy(network)(pixels)
    with caplog.at_level(logging.WARNING), torch.inference_mode():
        found = FastestEncoder(network, compiling=True)(pixels)
    assert least_cosine(found, expected) > LEAST_COSINE
    assert "differ from torch's" in caplog.text


def test_openvino_is_left_out_where_it_is_not_allowed_or_not_there(
    network: EfficientNetLite0, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "encoder.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    monkeypatch.setattr(fastest, "is_installed", lambda: True)
    assert load_fastest(path, True)._encoder is None
    assert isinstance(load_fastest(path, False)._encoder, EfficientNetLite0)
    monkeypatch.setattr(fastest, "is_installed", lambda: False)
    assert isinstance(load_fastest(path, True)._encoder, EfficientNetLite0)


@pytest.mark.parametrize("compiling", [False, pytest.param(True, marks=needs_openvino)])
@torch.inference_mode()
def test_real_pictures_have_the_features_of_the_published_encoder(compiling: bool) -> None:
    """The rule of the fingerprint, with the weights in use; skipped where they are not pulled."""
    try:
        path = check_encoders(HOME) / "efficientnet-lite0.safetensors"
    except WeightsMissing as error:
        pytest.skip(str(error))
    photos = encoder_input([picture_pixels(photo.picture()) for photo in read_photos()[::8]])
    expected = load_efficientnet(path)(photos)
    assert least_cosine(FastestEncoder(load_efficientnet(path), compiling)(photos), expected) > LEAST_COSINE


def test_passes_are_divided_in_few_ways() -> None:
    assert division_for(6, None) == (1, 6)
    assert division_for(6, 6) == (1, 6)
    assert division_for(3, 12) == division_for(2, 12) == (6, 2)
    assert {division_for(threads, 12) for threads in range(1, 13)} == {(12, 1), (6, 2), (3, 4), (1, 8), (1, 12)}


def test_while_one_number_of_threads_is_compiled_others_do_not_wait(
    network: EfficientNetLite0, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler is a stand-in that takes until it is let go for any number but one."""
    go, began = threading.Event(), threading.Event()

    def compile_for(self: CompiledEncoder, division: Division) -> Division:
        if division == (1, 2):
            began.set()
            assert go.wait(20)
        return division

    def asked(threads: int) -> Division:
        SHARING.take(threads)  # the thread is the pool's, and ends with it
        with SHARING.a_pass():
            found: Division = encoder._here()
            return found

    monkeypatch.setattr(compiled, "_graph", lambda network: None)
    monkeypatch.setattr(CompiledEncoder, "_compile", compile_for)
    monkeypatch.setattr(SHARING, "threads", 2)
    encoder = CompiledEncoder(network)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(asked, 2)
        assert began.wait(20)
        assert pool.submit(asked, 1).result(20) == (2, 1)
        go.set()
        assert slow.result(20) == (1, 2)


@needs_openvino
def test_as_many_passes_run_side_by_side_as_divide_the_threads(
    network: EfficientNetLite0, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = CompiledEncoder(network)
    assert encoder._here().get_property("NUM_STREAMS") == 1
    monkeypatch.setattr(SHARING, "threads", 2 * torch.get_num_threads())
    assert encoder._here().get_property("NUM_STREAMS") == 2
    expected = network(pixels)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(encoder, [pixels] * 4):
            assert least_cosine(found, expected) > LEAST_COSINE
