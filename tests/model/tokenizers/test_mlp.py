"""Names of MLPs in configs."""

import pytest

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.vqvae import parse_mlp


def test_expansion_is_four_where_it_is_not_given() -> None:
    assert parse_mlp("BottleneckMLP/B_6-Wi_1024") == (6, 1024, 4)
    assert parse_mlp("BottleneckMLP/B_2-Wi_32-E_2") == (2, 32, 2)


@pytest.mark.parametrize("name", ["vit_b_enc", "BottleneckMLP", "BottleneckMLP/B_x-Wi_8", "BottleneckMLP/B_1-Wi_8-E"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="BottleneckMLP/B_6-Wi_1024-E_4"):
        parse_mlp(name)
