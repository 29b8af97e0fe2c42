"""Which tokens of an image are encoded where not all may be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyseek.model.network.config import FourMConfig
from anyseek.model.network.tokens import ModalityInput, spread, within_budget


def test_half_of_a_grid_is_a_chessboard_and_a_quarter_every_other_row_and_column() -> None:
    rows, columns = torch.meshgrid(torch.arange(14), torch.arange(14), indexing="ij")
    assert torch.equal(spread((14, 14), 98).view(14, 14), (rows + columns) % 2 == 0)
    assert torch.equal(spread((14, 14), 49).view(14, 14), (rows % 2 == 0) & (columns % 2 == 0))


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.data())
def test_as_many_as_asked_for_and_more_places_keep_all_of_fewer(rows: int, columns: int, data: st.DataObject) -> None:
    more = data.draw(st.integers(1, rows * columns))
    fewer = data.draw(st.integers(1, more))
    assert int(spread((rows, columns), more).sum()) == more
    assert not (spread((rows, columns), fewer) & ~spread((rows, columns), more)).any()


@pytest.mark.parametrize("count", [30, 60, 120, 150])
def test_every_part_of_the_image_gets_its_share(count: int) -> None:
    kept = spread((14, 14), count).view(14, 14).double()
    for quarter in (kept[:7, :7], kept[:7, 7:], kept[7:, :7], kept[7:, 7:]):
        assert abs(float(quarter.sum()) - count / 4) <= 0.1 * count


def test_images_are_thinned_and_sequences_stay_whole(small_config: FourMConfig) -> None:
    image = ModalityInput(torch.randn(2, 8, 3, 3), torch.zeros(2, 9, dtype=torch.bool))
    states = ModalityInput(torch.randn(2, 12, 6), torch.zeros(2, 12, dtype=torch.bool))
    found = within_budget({"map": image, "states": states}, small_config, 5)
    assert (~found["map"].mask).sum(dim=1).tolist() == [5, 5]
    assert found["map"].mask.tolist()[0] == (~spread((3, 3), 5)).tolist()
    assert found["map"].values is image.values
    assert found["states"] is states


def test_what_is_masked_stays_masked(small_config: FourMConfig) -> None:
    given_mask = torch.ones(1, 9, dtype=torch.bool)
    found = within_budget({"map": ModalityInput(torch.randn(1, 8, 3, 3), given_mask)}, small_config, 5)
    assert found["map"].mask.all()


def test_a_budget_that_everything_fits_changes_nothing(small_config: FourMConfig) -> None:
    image = ModalityInput(torch.randn(1, 8, 3, 3), torch.zeros(1, 9, dtype=torch.bool))
    assert within_budget({"map": image}, small_config, 9)["map"] is image
