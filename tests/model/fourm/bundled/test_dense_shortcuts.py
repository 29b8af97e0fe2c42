"""Linear maps from inputs to codes of images: what they are fitted to, which of them counts, how they are stored."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.errors import WeightsCorrupt
from model.fourm.bundled.dense_shortcuts import (
    DenseShortcut,
    best_of,
    fitted,
    load_dense_shortcuts,
    save_dense_shortcuts,
)
from tests.random_bundle import random_dense_shortcuts


def _drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_map_of_low_rank_is_found_and_its_rank_is_kept() -> None:
    seen = _drawn(500, 12, seed=0) + 3.0
    true = _drawn(12, 2, seed=1) @ _drawn(2, 30, seed=2)
    wanted = seen @ true + 5.0
    noisy = wanted + 0.01 * _drawn(500, 30, seed=3)
    found = fitted(seen, {"depth": noisy, "normal": -noisy}, rank=2)
    down, up, bias = found["depth"]
    torch.testing.assert_close(found["normal"][2], -bias)
    assert (down.shape, up.shape, bias.shape) == ((2, 12), (2, 30), (30,))
    error = (seen @ down.T @ up + bias - wanted).square().mean() / wanted.var()
    assert error < 0.01
    one, _, _ = fitted(seen, {"depth": wanted}, rank=1)["depth"]
    assert len(one) == 1
    again = fitted(seen, {"depth": noisy}, rank=2)["depth"]
    torch.testing.assert_close(again, found["depth"], rtol=0, atol=0)


def test_fitting_leaves_the_draws_of_others_alone() -> None:
    before = torch.get_rng_state()
    fitted(_drawn(20, 4, seed=0), {"depth": _drawn(20, 6, seed=1)}, rank=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_channels_of_a_map_count() -> None:
    shortcut = random_dense_shortcuts()["rgb"]
    maps = _drawn(2, 256, 7, 7, seed=0)
    added = shortcut(maps)
    assert added.shape == (2, 128)
    torch.testing.assert_close(added, maps[:, :16].flatten(1) @ shortcut.down.T @ shortcut.up + shortcut.bias)
    maps[:, 16:] = 9.0
    assert torch.equal(shortcut(maps), added)


def test_the_one_that_explains_most_counts() -> None:
    shortcuts, maps = random_dense_shortcuts(), {name: _drawn(1, 256, 7, 7, seed=1) for name in ("rgb", "canny_edge")}
    found = best_of(shortcuts, maps)
    assert found is not None
    assert torch.equal(found, shortcuts["canny_edge"](maps["canny_edge"]))
    assert best_of(shortcuts, {"normal": maps["rgb"]}) is None


def test_they_come_back_from_a_file(tmp_path: Path) -> None:
    path, shortcuts = tmp_path / "dense.safetensors", {"depth": random_dense_shortcuts()}
    save_dense_shortcuts(shortcuts, path)
    found = load_dense_shortcuts(path)
    assert found.keys() == {"depth"}
    assert found["depth"].keys() == shortcuts["depth"].keys()
    maps = _drawn(3, 256, 7, 7, seed=2)
    for name, shortcut in shortcuts["depth"].items():
        torch.testing.assert_close(found["depth"][name](maps), shortcut(maps), rtol=0.05, atol=0.05)
        assert found["depth"][name].explained == shortcut.explained


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "dense.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(WeightsCorrupt, match="is not a complete safetensors file"):
        load_dense_shortcuts(path)
    save_file({"network.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsCorrupt, match=r"has a tensor network\.weight, which is not part"):
        load_dense_shortcuts(path)
    save_dense_shortcuts({"depth": random_dense_shortcuts()}, path)
    whole = load_file(path)
    save_file({name: one for name, one in whole.items() if not name.startswith("depth_from_rgb.bias")}, path)
    with pytest.raises(WeightsCorrupt, match="has only a part of the shortcut from rgb to depth"):
        load_dense_shortcuts(path)
    save_file({**whole, "depth_from_rgb.bias": torch.zeros(5)}, path)
    with pytest.raises(WeightsCorrupt, match="has only a part of the shortcut from rgb to depth"):
        load_dense_shortcuts(path)


def test_a_shortcut_says_what_it_takes() -> None:
    down, up = torch.zeros(2, 8), torch.zeros(2, 6)
    shortcut = DenseShortcut(down, up, torch.arange(6.0), torch.tensor(0.5))
    maps = _drawn(1, 4, 2, 2, seed=0)
    torch.testing.assert_close(shortcut.seen(maps), maps[:, :2].flatten(1))
    torch.testing.assert_close(shortcut(maps), torch.arange(6.0)[None])
