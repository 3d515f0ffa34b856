"""When rows are exposed: the formula of the capture format, both read-out orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.capture.timing import FrameTiming

HUNDRED_DAYS_NS = 100 * 86_400 * 10**9


def timing(order: str = "top_down", **changes: object) -> FrameTiming:
    values = {
        "first_row_end_ns": 1_000_000_000,
        "exposure_ns": 20_000_000,
        "line_time_ns": 28_571,
        "row_order": order,
        "height": 3040,
        **changes,
    }
    return FrameTiming(**values)  # type: ignore[arg-type]


def test_top_down_follows_the_formula() -> None:
    rows = np.array([0, 1, 3039])
    ends = timing().row_end_ns(rows)
    assert ends.tolist() == [1_000_000_000 + r * 28_571 for r in (0, 1, 3039)]
    assert timing().row_mid_ns(rows).tolist() == [end - 10_000_000 for end in ends]


def test_bottom_up_reads_the_last_picture_row_first() -> None:
    up, down = timing("bottom_up"), timing("top_down")
    assert up.readout_index(3039) == 0
    rows = np.arange(3040)
    np.testing.assert_array_equal(up.row_mid_ns(rows), down.row_mid_ns(rows[::-1]))
    # The span of the frame does not depend on the order.
    assert (up.start_ns, up.end_ns) == (down.start_ns, down.end_ns)


def test_start_and_end_enclose_every_row() -> None:
    t = timing("bottom_up")
    ends = t.row_end_ns(np.arange(3040))
    assert ends.min() - t.exposure_ns == t.start_ns
    assert ends.max() == t.end_ns


def test_a_global_shutter_exposes_all_rows_at_once() -> None:
    mids = timing(line_time_ns=0).row_mid_ns(np.arange(10))
    assert set(mids.tolist()) == {990_000_000}


@given(
    v=st.floats(-5000, 5000),
    uptime_ns=st.integers(0, 30 * HUNDRED_DAYS_NS),
    order=st.sampled_from(["top_down", "bottom_up"]),
)
def test_rows_outside_and_between_continue_the_line(v: float, uptime_ns: int, order: str) -> None:
    t = timing(order, first_row_end_ns=uptime_ns)
    index = v if order == "top_down" else 3039 - v
    assert abs(int(t.row_end_ns(v)) - uptime_ns - index * 28_571) <= 1


def test_nanoseconds_survive_any_uptime() -> None:
    late = timing(first_row_end_ns=2**62 + 1, line_time_ns=1)
    assert int(late.row_end_ns(2)) == 2**62 + 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("exposure_ns", 0),
        ("exposure_ns", -5),
        ("line_time_ns", -1.0),
        ("line_time_ns", float("nan")),
        ("row_order", "sideways"),
        ("height", 0),
    ],
)
def test_impossible_values_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        timing(**{"order": "top_down", field: value})  # type: ignore[arg-type]
