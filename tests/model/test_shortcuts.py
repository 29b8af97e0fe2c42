import numpy as np
import pytest
import torch

from model.shortcuts import INPUTS, Shortcuts
from model.tiny import SEMANTIC, VISUAL


@pytest.fixture
def fitted() -> tuple[Shortcuts, np.ndarray, np.ndarray]:
    """A caption map fitted on targets that are a linear function of the inputs, of rank 20."""
    generator = np.random.default_rng(0)
    own = generator.normal(size=(2000, 384)).astype(np.float32)
    wanted = (own @ generator.normal(size=(384, 20)) @ generator.normal(size=(20, 1280)) / 100).astype(np.float32)
    shortcuts = Shortcuts()
    shortcuts.fit("caption", VISUAL, own, wanted)
    return shortcuts, own, wanted


def test_a_fitted_map_finds_a_linear_relation(fitted: tuple[Shortcuts, np.ndarray, np.ndarray]) -> None:
    shortcuts, own, wanted = fitted
    with torch.inference_mode():
        found = shortcuts({"caption": torch.from_numpy(own)}, VISUAL).numpy()
    assert found.shape == (2000, 1280)
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99


def test_an_absent_input_adds_nothing(fitted: tuple[Shortcuts, np.ndarray, np.ndarray]) -> None:
    shortcuts, own, _ = fitted
    rows = torch.from_numpy(own[:3]).clone()
    rows[1] = 0
    with torch.inference_mode():
        found = shortcuts({"caption": rows}, VISUAL)
    assert not found[1].any()
    assert found[0].any()


def test_gain_and_share_scale_what_is_added() -> None:
    shortcuts = Shortcuts()
    own = torch.nn.functional.normalize(
        torch.randn(4, INPUTS["rgb"], generator=torch.Generator().manual_seed(0)), dim=1
    )
    shortcuts.scale("rgb", VISUAL, gain=1.0, share=2.0)
    torch.testing.assert_close(shortcuts({"rgb": own}, VISUAL), 2 * own)
    shortcuts.scale("rgb", SEMANTIC, gain=1.0, share=2.0)
    assert not shortcuts({"rgb": own}, SEMANTIC).any(), "vectors of another width than the target's have no share"


def test_inputs_add_up() -> None:
    shortcuts = Shortcuts()
    rows = torch.ones(1, INPUTS["rgb"])
    both = shortcuts({"rgb": rows, "canny_edge": rows}, VISUAL)
    alone = shortcuts({"rgb": rows}, VISUAL) + shortcuts({"canny_edge": rows}, VISUAL)
    torch.testing.assert_close(both, alone)
