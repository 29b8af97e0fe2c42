"""Every point at which a process is to die is a function that is there."""

import pytest

from tests.faults.traps import END_POINTS, WORK_POINTS, Point, found


@pytest.mark.parametrize("point", [*WORK_POINTS.values(), *END_POINTS.values()], ids=lambda point: point.function)
def test_the_function_is_there(point: Point) -> None:
    """Two were not, after the pipeline was rewritten, and only the trial of faults with real servers met that."""
    assert callable(getattr(*found(point)))
