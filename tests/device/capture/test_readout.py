from __future__ import annotations

import numpy as np
import pytest

from device.capture.readout import Readout

FULL = (0, 0, 4056, 3040)


def test_an_unscaled_frame_is_the_sensors_rows() -> None:
    readout = Readout((4056, 3040), FULL, FULL, (4056, 3040))
    timing = readout.timing(10**12, 50_000_000, 28_571.0)
    assert timing.first_row_end_ns == 10**12
    assert timing.line_time_ns == 28_571.0
    assert timing.start_ns == 10**12 - 50_000_000


def test_binning_does_not_change_the_lines() -> None:
    readout = Readout((2028, 1520), FULL, FULL, (2028, 1520))
    assert readout.timing(0, 1, 15_167.0).line_time_ns == 15_167.0


@pytest.mark.parametrize("rows", [304, 1520, 3040, 4560])
def test_scaling_keeps_the_time_over_the_frame(rows: int) -> None:
    timing = Readout((4056, 3040), FULL, FULL, (64, rows)).timing(0, 1, 1000.0)
    # The picture's edges, half a row beyond its outer centres, are the sensor's.
    edges = timing.row_end_ns(np.array([-0.5, rows - 0.5]))
    assert edges.tolist() == pytest.approx([-500, 3_039_500], abs=1)


def test_the_times_of_a_crop_are_those_of_the_whole() -> None:
    whole = Readout((2028, 1520), FULL, FULL, (2028, 1520)).timing(0, 1, 15_000.0)
    crop = Readout((2028, 1520), FULL, (500, 800, 2000, 1000), (1000, 500)).timing(0, 1, 15_000.0)
    rows = np.array([0, 10, 499])
    assert crop.row_end_ns(rows).tolist() == whole.row_end_ns(rows + 400).tolist()


def test_intrinsics_follow_the_crop() -> None:
    whole = Readout((4056, 3040), FULL, FULL, (4056, 3040)).intrinsics(3900.0, (4056, 3040))
    assert whole == (3900.0, 3900.0, 2027.5, 1519.5)
    half = Readout((2028, 1520), FULL, FULL, (2028, 1520)).intrinsics(3900.0, (4056, 3040))
    assert half == (1950.0, 1950.0, 1013.5, 759.5)
    middle = (1014, 760, 2028, 1520)
    zoomed = Readout((4056, 3040), FULL, middle, (4056, 3040)).intrinsics(3900.0, (4056, 3040))
    assert zoomed == (7800.0, 7800.0, 2027.5, 1519.5)
