"""The live reader over a real pseudo-terminal and the real pyserial, and its parts without."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from waiting import until

from firmware_bridge.cycles import ABSENT_AFTER, CountedClock, CycleAssembler, Received
from firmware_bridge.emulator import (
    EmulatorErrors,
    PtyEmulator,
    Wt901Emulator,
    hand_shake,
    still,
)
from firmware_bridge.errors import LinkError
from firmware_bridge.health import DEAD_BAND_SAMPLES, GapCounter, ZeroRuns
from firmware_bridge.packets import AccPacket, GyroPacket, Packet, RegisterReply, TimePacket
from firmware_bridge.provision import ProvisionPlan
from firmware_bridge.reader import ImuReader
from firmware_bridge.registers import Register, ReturnContent
from firmware_bridge.sample_stream import LOW_PASS_DELAY_S, SampleStream, samples_of
from firmware_bridge.serial_link import SerialLink, detect_baud

BAUD = 115200
PROVISIONED = ProvisionPlan().settings
WANTED_RESIDUAL_S = 0.002
PATIENCE_S = 10.0
MOTION = hand_shake(20.0, seed=4)


def make_emulator(errors: EmulatorErrors | None = None, **changed: int) -> Wt901Emulator:
    registers = PROVISIONED | {Register[name].value: value for name, value in changed.items()}
    return Wt901Emulator(MOTION, seed=1, errors=errors, registers=registers)


def time_errors_s(t_ns: np.ndarray, start_s: float, drift_ppm: float) -> np.ndarray:
    """Mapped times against the instants at which the emulator samples."""
    period_s = 0.005 / (1.0 + drift_ppm * 1e-6)
    sampled = (t_ns - round(start_s * 1e9)) / 1e9 + LOW_PASS_DELAY_S
    return sampled - np.round(sampled / period_s) * period_s


# --- without real time


@pytest.mark.parametrize("batch_s", [0.0, 0.001, 0.016])
@pytest.mark.parametrize("drift_ppm", [-50.0, 50.0])
def test_mapped_times_are_right_within_two_milliseconds(batch_s: float, drift_ppm: float) -> None:
    errors = EmulatorErrors(batch_s=batch_s, clock_drift_ppm=drift_ppm, jitter_s=5e-4)
    samples = samples_of(make_emulator(errors).stream(50.0, 10.0), baud=BAUD)
    assert len(samples) > 1980
    assert np.abs(time_errors_s(samples.t_ns, 50.0, drift_ppm)).max() < WANTED_RESIDUAL_S


def test_samples_are_what_the_motion_was_at_their_time() -> None:
    errors = EmulatorErrors(batch_s=0.016, gyro_bias_deg_s=(0, 0, 0), acc_bias_g=(0, 0, 0))
    samples = samples_of(make_emulator(errors).stream(50.0, 10.0), baud=BAUD)
    gyro_rad_s, acc_g = MOTION(samples.t_ns / 1e9)
    assert np.degrees(samples.gyro_rad_s - gyro_rad_s).std() < 0.4  # noise 0.14, time 0.4 ms
    assert np.abs(samples.acc_g - acc_g).max() < 0.05
    assert samples.has_acc


def test_lost_and_damaged_bytes_cost_their_samples_and_are_counted() -> None:
    errors = EmulatorErrors(dropped_bytes=5e-4, corrupted_bytes=5e-4)
    stream = SampleStream()
    stream.begin_link(10e9 / BAUD)
    for arrival_ns, data in make_emulator(errors).stream(50.0, 20.0):
        stream.take(data, arrival_ns)
    samples = stream.samples()
    incomplete, checksum_errors, skipped_bytes, _ = stream.counts
    sent, share_lost = 4000, 1.0 - 0.999**33
    assert stream.gaps.losses == pytest.approx(sent * share_lost, rel=0.3)
    assert len(samples) + stream.gaps.losses == pytest.approx(sent, abs=3)
    assert 0 < incomplete <= stream.gaps.losses
    assert checksum_errors > 0
    assert skipped_bytes > 0
    assert np.abs(time_errors_s(samples.t_ns, 50.0, 35.0)).max() < WANTED_RESIDUAL_S


@pytest.mark.parametrize("piece", [7, 33, 4096])
def test_a_cut_never_joins_two_cycles(piece: int) -> None:
    """An overrun swallows any stretch of bytes; no sample may get its neighbour's time.

    Stretches of whole frames are left out: they leave no trace.
    """
    data = b"".join(data for _, data in make_emulator(EmulatorErrors.none()).stream(50.0, 1.0))
    whole = SampleStream()
    whole.take(data, 0)
    gyro_at = {int(r["chip_ns"]): r["gyro"].tolist() for r in whole.ring.newest()}
    for start in range(33, 66):
        for length in (5, 20, 40, 100, 500):
            stream = SampleStream()
            cut = data[:start] + data[start + length : 1500]
            for at in range(0, len(cut), piece):
                stream.take(cut[at : at + piece], at)
            rows = stream.ring.newest()
            assert len(rows) > 20
            assert all(r["gyro"].tolist() == gyro_at[int(r["chip_ns"])] for r in rows)


def test_a_restart_of_the_sensor_keeps_the_samples_before_it() -> None:
    emulator = make_emulator()
    stream = SampleStream()
    stream.begin_link(10e9 / BAUD)
    chunks = emulator.stream(50.0, 5.0)
    emulator.power_on(55_400_000_000)
    chunks += emulator.arrived_until(60_500_000_000)
    for arrival_ns, data in chunks:
        stream.take(data, arrival_ns)
    samples = stream.samples()
    assert stream.clock.segment == 1
    before, after = samples.between(0, 55_100_000_000), samples.between(55_100_000_001, 2**62)
    assert len(before) == pytest.approx(1000, abs=3)
    assert len(after) == pytest.approx(1000, abs=3)
    assert np.abs(time_errors_s(before.t_ns, 50.0, 35.0)).max() < WANTED_RESIDUAL_S
    assert np.abs(time_errors_s(after.t_ns, 55.5, 35.0)).max() < WANTED_RESIDUAL_S


def test_without_time_packets_samples_are_counted() -> None:
    content = ReturnContent.ACC | ReturnContent.GYRO
    errors = EmulatorErrors(clock_drift_ppm=100.0)
    stream = SampleStream()
    stream.begin_link(10e9 / BAUD)
    for arrival_ns, data in make_emulator(errors, RSW=int(content)).stream(50.0, 20.0):
        stream.take(data, arrival_ns)
    samples = stream.samples()
    assert stream.source == "counted"
    assert len(samples) > 3900
    assert np.abs(time_errors_s(samples.t_ns, 50.0, 100.0)).max() < WANTED_RESIDUAL_S


def test_without_time_packets_lost_samples_are_noticed_as_delay() -> None:
    content = ReturnContent.ACC | ReturnContent.GYRO
    chunks = make_emulator(EmulatorErrors(batch_s=0.0), RSW=int(content)).stream(50.0, 10.0)
    stream = SampleStream()
    stream.begin_link(10e9 / BAUD)
    for arrival_ns, data in chunks[:800] + chunks[803:]:
        stream.take(data, arrival_ns)
    assert stream.counts[3] == 3
    tail = stream.samples().between(56_000_000_000, 60_000_000_000)
    assert np.abs(time_errors_s(tail.t_ns, 50.0, 35.0)).max() < WANTED_RESIDUAL_S


def test_without_acceleration_packets_there_is_none() -> None:
    content = ReturnContent.TIME | ReturnContent.GYRO
    samples = samples_of(make_emulator(RSW=int(content)).stream(50.0, 2.0), baud=BAUD)
    assert len(samples) == pytest.approx(400 - ABSENT_AFTER, abs=3)
    assert not samples.has_acc


def test_the_dead_band_is_reported() -> None:
    trapped = PROVISIONED | {Register.GYRO_STILL_THRESHOLD: 50, Register.GYRO_AUTO_CAL_MS: 500}
    emulator = Wt901Emulator(still, registers=trapped)
    stream = SampleStream()
    stream.begin_link(10e9 / BAUD)
    for arrival_ns, data in emulator.stream(50.0, 3.0):
        stream.take(data, arrival_ns)
    assert stream.zeros.inside
    assert stream.zeros.runs == 1
    assert stream.zeros.longest == pytest.approx(500, abs=5)


def cycle(k: int) -> list[Received]:
    packets: list[Packet] = [
        TimePacket(24, 1, 1, 0, 0, 0, 5 * k),
        AccPacket(k, 0, 0, 0),
        GyroPacket(k, 1, 2, 0),
    ]
    return [Received(packet, 1000 * n + k, True) for n, packet in enumerate(packets, 1)]


@pytest.mark.parametrize(
    ("missing", "expected"),
    [((), [0, 1, 2]), ((3,), [0, 2]), ((4,), [0, 2]), ((5,), [0, 2]), ((4, 5, 6), [0])],
)
def test_a_cycle_with_a_packet_missing_is_dropped_whole(
    missing: tuple[int, ...], expected: list[int]
) -> None:
    packets = [
        p._replace(follows=k - 1 not in missing)
        for k, p in enumerate(cycle(0) + cycle(1) + cycle(2))
        if k not in missing
    ]
    samples = CycleAssembler().add(packets)
    assert [s.gyro[0] for s in samples] == expected
    assert all(s.acc is not None and s.acc[0] == s.gyro[0] for s in samples)
    assert all(s.arrival_ns == 1000 + s.gyro[0] for s in samples)


def test_a_register_reply_does_not_break_a_cycle() -> None:
    time_acc_gyro = cycle(7)
    time_acc_gyro.insert(1, Received(RegisterReply((1, 2, 3, 4)), 0, True))
    assert len(CycleAssembler().add(time_acc_gyro)) == 1


def test_an_impossible_time_is_none() -> None:
    packets = cycle(0) + cycle(1)
    packets[3] = Received(TimePacket(24, 1, 1, 25, 0, 0, 5), 0, True)
    assert len(CycleAssembler().add(packets)) == 1


def test_gaps_are_counted_and_a_new_rate_is_not_a_gap() -> None:
    gaps = GapCounter()
    for chip_ms in [0, 5, 10, 25, 30]:
        gaps.add(chip_ms * 1_000_000)
    assert gaps.losses == 2
    for k in range(50):
        gaps.add((40 + 10 * k) * 1_000_000)
    assert gaps.losses == 2
    assert gaps.step_ns == 10_000_000


def test_a_short_run_of_zeros_is_no_dead_band() -> None:
    zeros = ZeroRuns()
    for _ in range(DEAD_BAND_SAMPLES - 1):
        zeros.add((0, 0, 0))
    zeros.add((0, 0, 1))
    assert (zeros.runs, zeros.longest, zeros.inside) == (0, 0, False)


def test_a_stalled_host_is_no_slip_of_the_counted_clock() -> None:
    counted = CountedClock()
    arrivals = 10**9 + 5_000_000 * np.arange(2000)
    arrivals[1000:1030] = arrivals[1030]  # 150 ms of samples at once
    for arrival_ns in arrivals.tolist():
        counted.chip_ns(arrival_ns)
    assert counted.slips == 0
    assert counted.period_ns == 5_000_000


# --- over a pseudo-terminal, in real time


@pytest.fixture
def emulated() -> Iterator[PtyEmulator]:
    with PtyEmulator(make_emulator()) as running:
        yield running


def test_live_samples_match_the_motion(emulated: PtyEmulator) -> None:
    with ImuReader(lambda: SerialLink(emulated.port, BAUD)) as reader:
        assert reader.wait_for_samples(100, PATIENCE_S)
        now_ns = time.monotonic_ns()
        samples = reader.samples_between(
            now_ns - 200_000_000, now_ns + 50_000_000, wait_until_ns=now_ns + 5 * 10**9
        )
        stats = reader.stats()
    assert samples.t_ns[0] >= now_ns - 200_000_000
    assert now_ns + 44_000_000 < samples.t_ns[-1] <= now_ns + 50_000_000
    bias_rad_s = np.radians(EmulatorErrors().gyro_bias_deg_s)
    difference = samples.gyro_rad_s - bias_rad_s - MOTION(samples.t_ns / 1e9)[0]
    assert np.degrees(np.median(np.abs(difference))) < 2.0  # 20 deg/s shake, loaded machine
    assert stats.alive
    assert stats.connected
    assert stats.rate_hz == pytest.approx(200.0, rel=0.02)
    assert (stats.losses, stats.checksum_errors, stats.reconnects) == (0, 0, 0)
    assert stats.clock_source == "chip"
    assert not stats.in_dead_band
    assert 0.0 <= stats.latency_p50_s <= stats.latency_p99_s
    assert stats.clock_uncertainty_s < 0.005
    assert stats.last_error is None


def test_waiting_ends_at_its_deadline_without_a_sensor(tmp_path: Path) -> None:
    with ImuReader(lambda: SerialLink(str(tmp_path / "nothing"), BAUD)) as reader:
        now_ns = time.monotonic_ns()
        samples = reader.samples_between(0, now_ns, wait_until_ns=now_ns + 50_000_000)
        assert time.monotonic_ns() >= now_ns + 50_000_000
        stats = reader.stats()
    assert len(samples) == 0
    assert not stats.connected
    assert stats.last_error is not None
    assert "nothing" in stats.last_error


def test_close_ends_a_wait_and_twice_is_fine(tmp_path: Path) -> None:
    reader = ImuReader(lambda: SerialLink(str(tmp_path / "nothing"), BAUD))
    reader.start()
    reader.start()
    far_ns = time.monotonic_ns() + 3600 * 10**9
    waiter = threading.Thread(
        target=lambda: reader.samples_between(0, far_ns, wait_until_ns=far_ns)
    )
    waiter.start()
    reader.close()
    reader.close()
    waiter.join(PATIENCE_S)
    assert not waiter.is_alive()
    assert not reader.stats().alive


def test_a_replugged_sensor_is_back_within_two_seconds(tmp_path: Path) -> None:
    link = tmp_path / "imu"
    with (
        PtyEmulator(make_emulator(), link=link) as emulated,
        ImuReader(lambda: SerialLink(str(link), BAUD)) as reader,
    ):
        assert reader.wait_for_samples(20, PATIENCE_S)
        emulated.unplug()
        unplugged_ns = time.monotonic_ns()
        assert not link.exists()
        emulated.plug()
        plugged_ns = time.monotonic_ns()
        samples = reader.samples_between(
            plugged_ns, 2**62, wait_until_ns=plugged_ns
        )  # nothing yet: the sensor is still starting
        assert len(samples) == 0
        reader.samples_between(0, plugged_ns, wait_until_ns=plugged_ns + 10 * 10**9)
        back_s = (time.monotonic_ns() - plugged_ns) / 1e9
        stats = reader.stats()
        kept = reader.samples_between(0, unplugged_ns)
    assert back_s < 2.0
    assert stats.reconnects == 1
    assert stats.connected
    assert stats.clock_jumps == 1
    assert stats.last_error is not None
    assert len(kept) >= 20


def test_garbage_and_a_restarted_sensor_are_survived(emulated: PtyEmulator) -> None:
    with ImuReader(lambda: SerialLink(emulated.port, BAUD)) as reader:
        assert reader.wait_for_samples(20, PATIENCE_S)
        emulated.garbage = True
        until(lambda: reader.stats().age_s > 0.5)
        noisy = reader.stats()
        emulated.garbage = False
        quiet_ns = time.monotonic_ns()
        until(lambda: reader.stats().age_s < 0.1)
        assert time.monotonic_ns() - quiet_ns < 2e9
        before = reader.stats()
        emulated.restart()
        until(lambda: reader.stats().clock_jumps > before.clock_jumps)
        now_ns = time.monotonic_ns()
        later = reader.samples_between(now_ns, 2**62, wait_until_ns=now_ns + 10 * 10**9)
    assert noisy.skipped_bytes > 1000
    assert len(later) > 0


def test_an_emulator_that_is_far_behind_can_be_unplugged() -> None:
    """The host stood still for an hour: nobody waits until all its samples are made."""
    late_ns = 0
    emulated = PtyEmulator(
        make_emulator(), monotonic_ns=lambda: time.monotonic_ns() + late_ns, checks_baud=False
    )
    with emulated:
        late_ns = 3600 * 10**9
        begin_s = time.monotonic()
        emulated.unplug()
        assert time.monotonic() - begin_s < 5


class SilentLink:
    """A port that is open and says nothing."""

    name = "silent"
    byte_time_ns = 0.0

    def __init__(self, clock: list[int]) -> None:
        self.clock = clock
        self.closed = threading.Event()

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        self.clock[0] += round(timeout_s * 1e9)
        return b""

    def write(self, data: bytes) -> None:
        raise LinkError("silent")

    def close(self) -> None:
        self.closed.set()


def test_a_silent_link_is_opened_again() -> None:
    clock = [0]
    link = SilentLink(clock)
    with ImuReader(lambda: link, monotonic_ns=lambda: clock[0]) as reader:
        assert link.closed.wait(PATIENCE_S)
        stats = reader.stats()
    assert stats.last_error == "silent: no valid packet for 2.5 s"


def test_the_baud_is_found(emulated: PtyEmulator) -> None:
    assert detect_baud(emulated.port, (9600, BAUD), listen_s=0.15) == BAUD


def test_a_sensor_that_does_not_stream_answers_at_its_baud() -> None:
    quiet = make_emulator(RRATE=0x0D)
    with PtyEmulator(quiet) as emulated:
        assert detect_baud(emulated.port, (9600, BAUD), listen_s=0.25) == BAUD


def test_no_sensor_at_any_baud_is_one_clear_line(emulated: PtyEmulator) -> None:
    with pytest.raises(LinkError, match=r"no WT901 found, tried 9600, 230400 baud"):
        detect_baud(emulated.port, (9600, 230400), listen_s=0.1)


def test_a_port_is_not_shared(emulated: PtyEmulator) -> None:
    link = SerialLink(emulated.port, BAUD)
    with pytest.raises(LinkError, match="cannot open"):
        SerialLink(emulated.port, BAUD)
    link.close()
    link.close()
    with pytest.raises(LinkError, match="closed"):
        link.read(10, 0.0)
