from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anyseek.model.checkpoints.quantized import quantize
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from anyseek.model.fourm.bundled.shortcuts import Shortcuts, load_shortcuts

WIDTHS, LENGTHS = {"picture": 40, "words": 100}, {"seen": 40, "said": 60}


def _drawn(rank: int = 64) -> Shortcuts:
    """With random maps."""
    generator = torch.Generator().manual_seed(0)
    shortcuts = Shortcuts(WIDTHS, LENGTHS, dict.fromkeys(LENGTHS, rank))
    for key in WIDTHS:
        for space in LENGTHS:
            one = shortcuts.shortcut(key, space)
            one.fill(*(torch.randn(t.shape, generator=generator) for t in (one.mean, one.down, one.up)))
    return shortcuts


def _rows(width: int) -> torch.Tensor:
    return torch.randn(3, width, generator=torch.Generator().manual_seed(1))


def test_a_map_and_a_share_of_the_vector_itself_are_added() -> None:
    shortcuts, own = _drawn(), _rows(40)
    one = shortcuts.shortcut("picture", "seen")
    centred = own - one.mean
    expected = centred @ one.down @ one.up + 0.5 * centred
    torch.testing.assert_close(shortcuts({"picture": own}, "seen"), expected)
    with torch.no_grad():
        one.gain.fill_(2.0)
        one.share.fill_(0.0)
    torch.testing.assert_close(shortcuts({"picture": own}, "seen"), 2 * centred @ one.down @ one.up)


def test_vectors_of_another_width_have_no_share_and_a_rank_is_no_larger_than_they_are() -> None:
    shortcuts = _drawn(rank=64)
    trained = {name for name, _ in shortcuts.named_parameters()}
    assert "maps.picture_to_seen.share" in trained
    assert "maps.words_to_seen.share" not in trained
    assert shortcuts.shortcut("words", "seen").down.shape == (100, 40)
    assert shortcuts.shortcut("words", "said").down.shape == (100, 60)


def test_an_absent_input_adds_nothing_and_inputs_add_up() -> None:
    shortcuts = _drawn()
    picture, words = _rows(40), _rows(100)
    picture[1] = 0
    both = shortcuts({"picture": picture, "words": words}, "said")
    alone = shortcuts({"words": words}, "said")
    torch.testing.assert_close(both[1], alone[1])
    torch.testing.assert_close(both, alone + shortcuts({"picture": picture}, "said"))
    torch.testing.assert_close(shortcuts({"smell": words, "words": words}, "said"), alone)
    assert not shortcuts({"smell": words}, "said").any()


def test_everything_but_the_mean_gets_gradients() -> None:
    shortcuts = _drawn()
    shortcuts({"picture": _rows(40)}, "seen").square().sum().backward()
    one = shortcuts.shortcut("picture", "seen")
    assert {name for name, own in one.named_parameters() if own.grad is not None} == {"gain", "share", "down", "up"}


@pytest.mark.parametrize("rounded", [False, True])
def test_a_file_says_everything_about_its_shortcuts(tmp_path: Path, rounded: bool) -> None:
    shortcuts = _drawn()
    tensors = shortcuts.state_dict()
    save_file(quantize(tensors) if rounded else tensors, tmp_path / "s.safetensors")
    loaded = load_shortcuts(tmp_path / "s.safetensors")
    assert (loaded.inputs, loaded.spaces) == (WIDTHS, LENGTHS)
    own = {"picture": _rows(40), "words": _rows(100)}
    difference = (loaded(own, "said") - shortcuts(own, "said")).norm() / shortcuts(own, "said").norm()
    assert difference < (0.02 if rounded else 1e-6)


def test_inputs_can_have_other_names(tmp_path: Path) -> None:
    shortcuts = _drawn()
    renamed = shortcuts.renamed({"picture": "rgb", "words": "caption"})
    assert renamed.inputs == {"rgb": 40, "caption": 100}
    torch.testing.assert_close(renamed({"rgb": _rows(40)}, "said"), shortcuts({"picture": _rows(40)}, "said"))


def test_spaces_have_ranks_of_their_own() -> None:
    shortcuts = Shortcuts(WIDTHS, LENGTHS, {"seen": 3, "said": 7})
    ranks = {(key, space): shortcuts.shortcut(key, space).down.shape[1] for key in WIDTHS for space in LENGTHS}
    assert ranks == {(key, space): {"seen": 3, "said": 7}[space] for key in WIDTHS for space in LENGTHS}


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="no weights file"):
        load_shortcuts(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    with pytest.raises(WeightsCorrupt, match="not a complete safetensors file"):
        load_shortcuts(tmp_path / "cut.safetensors")
    save_file({"codes": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointMismatch, match="holds no shortcuts"):
        load_shortcuts(tmp_path / "other.safetensors")
    tensors = _drawn().state_dict()
    del tensors["maps.words_to_said.up"]
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointMismatch, match="holds no shortcuts"):
        load_shortcuts(tmp_path / "part.safetensors")
