"""The clock map against simulated arrivals: late in bursts, never early, on a drifting clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from firmware_bridge.clock import BUCKET_NS, WINDOW_NS, ClockMap, ClockSegment, lower_envelope

PERIOD_NS = 5_000_000
BOOT_NS = 86_400_000_000_000
WANTED_RESIDUAL_NS = 2_000_000
BATCH_NS = 16_000_000


def chip_times(duration_s: float, start_s: float = 0.0) -> NDArray[np.int64]:
    first = round(start_s * 1e9)
    return first + PERIOD_NS * np.arange(round(duration_s * 1e9 / PERIOD_NS), dtype=np.int64)


def true_times(chip_ns: NDArray[np.int64], drift_ppm: float) -> NDArray[np.int64]:
    return BOOT_NS + np.rint(chip_ns / (1.0 + drift_ppm * 1e-6)).astype(np.int64)


def in_batches(
    host_ns: NDArray[np.int64], rng: np.random.Generator, batch_ns: int = BATCH_NS
) -> NDArray[np.int64]:
    """Arrival in USB batches, each late by a scheduling delay with a long tail; order is kept.

    The adapter counts its batches with a clock of its own.
    """
    batch_ns = round(batch_ns * (1.0 + rng.uniform(-1e-3, 1e-3)))
    ready_ns = (host_ns // batch_ns + 1) * batch_ns
    late_ns = rng.exponential(100_000, len(host_ns)) + 50_000
    late_ns += rng.exponential(20_000_000, len(host_ns)) * (rng.random(len(host_ns)) < 0.01)
    return np.maximum.accumulate(ready_ns + late_ns.astype(np.int64))


def feed(clock: ClockMap, chip_ns: NDArray[np.int64], arrival_ns: NDArray[np.int64]) -> list[int]:
    return [clock.observe(c, a) for c, a in zip(chip_ns.tolist(), arrival_ns.tolist(), strict=True)]


def test_lower_envelope_lies_under_all_points_and_touches_two() -> None:
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0, 10, 200))
    y = 3.0 - 0.5 * x + rng.exponential(1.0, 200)
    slope, intercept = lower_envelope(x, y)
    above = y - intercept - slope * x
    assert above.min() >= -1e-9
    assert (above < 1e-9).sum() == 2
    assert slope == pytest.approx(-0.5, abs=0.05)


def test_lower_envelope_of_one_point_is_refused() -> None:
    with pytest.raises(ValueError, match="two points"):
        lower_envelope(np.array([1.0]), np.array([2.0]))


@pytest.mark.parametrize("drift_ppm", [-200.0, -50.0, 0.0, 50.0, 200.0])
@pytest.mark.parametrize("batch_ns", [1_000_000, BATCH_NS])
def test_bursty_arrivals_map_within_two_milliseconds(drift_ppm: float, batch_ns: int) -> None:
    rng = np.random.default_rng(7)
    chip_ns = chip_times(30.0, start_s=1000.0)
    host_ns = true_times(chip_ns, drift_ppm)
    clock = ClockMap()
    feed(clock, chip_ns, in_batches(host_ns, rng, batch_ns))
    error_ns = clock.to_host_ns(chip_ns) - host_ns
    assert np.abs(error_ns).max() < WANTED_RESIDUAL_NS
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=20.0)
    assert clock.uncertainty_ns < WANTED_RESIDUAL_NS


def test_batches_in_step_with_the_samples_still_map_within_two_milliseconds() -> None:
    """USB frames of exactly 1 ms hide a 50 ppm drift for 20 s; the times must stay right."""
    chip_ns = chip_times(30.0)
    host_ns = true_times(chip_ns, -50.0)
    clock = ClockMap()
    feed(clock, chip_ns, (host_ns // 1_000_000 + 1) * 1_000_000)
    error_ns = np.abs(clock.to_host_ns(chip_ns) - host_ns)
    assert error_ns.max() < WANTED_RESIDUAL_NS
    assert error_ns[-1] < 3.0 * clock.uncertainty_ns


def test_a_young_map_is_already_good_and_says_how_good() -> None:
    chip_ns = chip_times(30.0)
    host_ns = true_times(chip_ns, 50.0)
    for seed in range(20):
        clock = ClockMap()
        arrival_ns = in_batches(host_ns, np.random.default_rng(seed))
        done = 0
        for samples in (100, 400, 1000, 4000):
            feed(clock, chip_ns[done:samples], arrival_ns[done:samples])
            done = samples
            recent = slice(max(samples - 200, 0), samples)
            error_ns = np.abs(clock.to_host_ns(chip_ns[recent]) - host_ns[recent]).max()
            assert error_ns < WANTED_RESIDUAL_NS
            assert error_ns < 4.0 * clock.uncertainty_ns
            assert clock.uncertainty_ns < WANTED_RESIDUAL_NS


def test_hours_at_200_hz_stay_bounded_and_follow_a_changing_drift() -> None:
    """Drift that wanders by 20 ppm over two hours, as a chip that warms up."""
    chip_ns = chip_times(2 * 3600.0)[::20]  # every twentieth sample keeps the test quick
    rate = 1.0 / (1.0 + 1e-6 * (30.0 + 20.0 * np.sin(chip_ns / 1.2e12)))
    steps = np.diff(chip_ns, prepend=chip_ns[0])
    host_ns = BOOT_NS + np.rint(np.cumsum(steps * rate)).astype(np.int64)
    clock = ClockMap()
    feed(clock, chip_ns, in_batches(host_ns, np.random.default_rng(3)))
    recent = slice(-600, None)
    error_ns = clock.to_host_ns(chip_ns[recent]) - host_ns[recent]
    assert np.abs(error_ns).max() < WANTED_RESIDUAL_NS
    assert clock.segment == 0
    assert len(clock._current._earliest) <= WINDOW_NS // BUCKET_NS


@pytest.mark.parametrize("jump_s", [-3600.0, -0.5, 0.5, 86400.0])
def test_a_jump_of_the_chip_clock_begins_a_segment(jump_s: float) -> None:
    rng = np.random.default_rng(5)
    before_ns = chip_times(10.0, start_s=10_000.0)
    host_ns = true_times(chip_times(20.0), 50.0)
    after_ns = before_ns[-1] + PERIOD_NS + round(jump_s * 1e9) + chip_times(10.0)
    chip_ns = np.concatenate([before_ns, after_ns])
    clock = ClockMap()
    segments = np.array(feed(clock, chip_ns, in_batches(host_ns, rng)))
    assert clock.segment > 0
    assert set(segments[:2000]) == {0}
    assert set(segments[2000:]) == {clock.segment}
    for number in (0, clock.segment):
        of = segments == number
        error_ns = clock.to_host_ns(chip_ns[of], number) - host_ns[of]
        assert np.abs(error_ns).max() < WANTED_RESIDUAL_NS


def test_the_measured_rate_survives_a_reboot() -> None:
    clock = ClockMap()
    chip_ns = chip_times(60.0, start_s=500.0)
    host_ns = true_times(chip_ns, 150.0)
    feed(clock, chip_ns, in_batches(host_ns, np.random.default_rng(2)))
    feed(clock, chip_times(0.1), host_ns[-1] + 1_000_000_000 + chip_times(0.1))
    assert clock.segment == 1
    assert clock.drift_ppm == pytest.approx(150.0, abs=10.0)


def test_one_corrupted_time_stamp_is_forgotten() -> None:
    clock = ClockMap()
    chip_ns = chip_times(2.0)
    host_ns = true_times(chip_ns, 0.0)
    feed(clock, chip_ns, host_ns)
    stray = clock.observe(10**18, int(host_ns[-1]) + 1)
    feed(clock, chip_ns[-1] + chip_times(1.0)[1:], host_ns[-1] + chip_times(1.0)[1:])
    assert clock.segment == 0
    assert not clock.knows(stray)
    with pytest.raises(KeyError):
        clock.to_host_ns(chip_ns, stray)
    assert clock.observe(5 * 10**17, int(host_ns[-1]) + 10**9) != stray


def test_a_stalled_host_is_not_a_jump() -> None:
    """Half a second of samples handed over at once, late, when the host wakes."""
    clock = ClockMap()
    chip_ns = chip_times(10.0)
    arrival_ns = true_times(chip_ns, 20.0)
    arrival_ns[1000:1100] = arrival_ns[1100]
    feed(clock, chip_ns, arrival_ns)
    assert clock.segment == 0
    error_ns = clock.to_host_ns(chip_ns) - true_times(chip_ns, 20.0)
    assert np.abs(error_ns).max() < WANTED_RESIDUAL_NS


@pytest.mark.parametrize("behind_ns", [50_000_000, 400_000_000])
def test_a_chip_clock_that_fell_behind_for_good_is_a_jump(behind_ns: int) -> None:
    clock = ClockMap()
    chip_ns = chip_times(10.0)
    host_ns = true_times(chip_ns, 0.0)
    host_ns[1000:] += behind_ns
    segments = np.array(feed(clock, chip_ns, host_ns))
    assert clock.segment == 1
    assert (segments == 1).sum() > 500


def test_restart_begins_a_segment_and_is_idempotent() -> None:
    clock = ClockMap()
    clock.restart()
    assert clock.uncertainty_ns == float("inf")
    assert clock.observe(0, BOOT_NS) == 0
    clock.restart()
    clock.restart()
    assert clock.observe(PERIOD_NS, BOOT_NS + PERIOD_NS) == 1


def test_old_segments_are_forgotten() -> None:
    clock = ClockMap()
    for k in range(100):
        clock.restart()
        clock.observe(k, BOOT_NS + k)
    assert len(clock._segments) <= 16
    assert not clock.knows(0)
    assert clock.knows(clock.segment)


@settings(max_examples=40, deadline=None)
@given(
    drift_ppm=st.floats(-300, 300),
    batch_ms=st.sampled_from([1, 2, 4, 8, 16]),  # with 5 or 10 ms the phase would stay hidden
    seed=st.integers(0, 2**32 - 1),
    lost=st.floats(0, 0.5),
    duration_s=st.floats(1.0, 20.0),
)
def test_mapped_times_are_never_far_from_the_truth(
    drift_ppm: float, batch_ms: int, seed: int, lost: float, duration_s: float
) -> None:
    rng = np.random.default_rng(seed)
    chip_ns = chip_times(duration_s)
    arrived = rng.random(len(chip_ns)) >= lost
    arrived[0] = True
    host_ns = true_times(chip_ns, drift_ppm)
    clock = ClockMap()
    arrival_ns = in_batches(host_ns, rng, batch_ms * 1_000_000)
    feed(clock, chip_ns[arrived], arrival_ns[arrived])
    smallest_delay_ns = (arrival_ns - host_ns)[arrived].min()  # the constant nobody can see
    error_ns = clock.to_host_ns(chip_ns[arrived]) - host_ns[arrived] - smallest_delay_ns
    assert clock.segment == 0
    assert np.abs(error_ns).max() < WANTED_RESIDUAL_NS
    assert np.all(np.diff(clock.to_host_ns(chip_ns)) > 0)


def test_a_segment_alone_maps_its_first_sample_to_its_arrival() -> None:
    segment = ClockSegment(0)
    segment.add(123, 456)
    assert segment.to_host_ns(np.array([123, 1123]))[0] == 456
