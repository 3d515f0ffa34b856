"""Recordings of every kind to samples: the real one, made ones, damaged ones, and no recording."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from firmware_bridge.benchmark import decode_throughput, parser_throughput, standard_stream
from firmware_bridge.decode import decode_capture, decode_raw
from firmware_bridge.errors import LogFormatError
from firmware_bridge.frames import ACC_SCALE_G, GYRO_SCALE_RAD_S
from firmware_bridge.gcsv import read_gcsv, write_gcsv
from firmware_bridge.packets import (
    AccPacket,
    CombinedPacket,
    CombinedTimedPacket,
    GyroPacket,
    RegisterReply,
    TimePacket,
)
from firmware_bridge.parser import Parser
from firmware_bridge.raw_capture import RawCapture
from firmware_bridge.sample_times import chip_milliseconds, times_from_arrivals, times_from_chip

steady = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
START = datetime(2024, 5, 17, 23, 59, 59)
STEP_MS = 5


def clock_of(number: int, start: datetime = START) -> tuple[int, ...]:
    at = start + timedelta(milliseconds=STEP_MS * number)
    year = at.year - 2000
    return year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond // 1000


def cycle(number: int) -> list[bytes]:
    """Time, acceleration and rate of one sample of a made recording."""
    time = TimePacket(*clock_of(number))
    return [
        time.to_bytes(),
        AccPacket(number, -number, 2048, 2500).to_bytes(),
        GyroPacket(3 * number, 7, -number, 0).to_bytes(),
    ]


def timed_combined(number: int) -> bytes:
    values = (number, -number, 2048, 3 * number, 7, -number, 0, 0, 0, *clock_of(number))
    return CombinedTimedPacket(*values).to_bytes()


def combined(number: int) -> bytes:
    return CombinedPacket(number, -number, 2048, 3 * number, 7, -number, 0, 0, 0).to_bytes()


def joined(frames: Sequence[Sequence[bytes]]) -> bytes:
    return b"".join(b"".join(group) for group in frames)


def saved(tmp_path: Path, content: bytes, name: str = "capture.bin") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def json_lines(packets: Sequence[tuple[float, bytes]], header: str = "") -> bytes:
    lines = [json.dumps({"hex": data.hex(), "t": arrival}) for arrival, data in packets]
    return (header + "".join(line + "\n" for line in lines)).encode()


def test_the_real_recording(shared_data: Path) -> None:
    """The counts that its README states: 288 frames of 20 bytes, 3 s, 100 Hz."""
    path = shared_data / "imu_logs" / "witmotion" / "wt901ble67_100hz_raw.jsonl"
    got = decode_capture(path)
    assert (got.kind, got.variant, got.clock) == ("jsonl", "combined20", "arrival")
    assert got.frames == {0x61: 288}
    assert (got.bad_checksums, got.unconfirmed, got.skipped_bytes) == (0, 0, 0)
    assert got.total_bytes == 288 * 20
    assert len(got.samples) == 288
    assert got.rate_hz == 100
    assert got.duration_s == pytest.approx(3, abs=0.05)
    # The radio link stalled once, for 0.24 s.
    steps = np.diff(got.samples.t_ns)
    assert np.unique(steps).tolist() == [10_000_000, 10_000_000 * (got.lost_samples + 1)]
    assert np.flatnonzero(steps > 10_000_000).tolist() == [35]
    # Scales: gravity is 1 g however the sensor is held, and the first frame is 55 61 27 06 ...
    assert np.linalg.norm(got.samples.acc_g, axis=1).mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(got.samples.acc_g[0], np.array([0x0627, 0x01BC, 0x0679]) / 2048)
    expected = np.radians(np.array([0x0055, -0x0119, -0x053C]) / 32768 * 2000)
    np.testing.assert_allclose(got.samples.gyro_rad_s[0], expected)


def test_the_real_recording_as_other_files(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "imu_logs" / "witmotion" / "wt901ble67_100hz_raw.jsonl"
    expected = decode_capture(source)
    lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()[1:]]
    data = b"".join(bytes.fromhex(line["hex"]) for line in lines)
    for name, content in {"a.bin": data, "a.hex": data.hex(" ", 20).encode()}.items():
        got = decode_capture(saved(tmp_path, content, name))
        assert got.frames == {0x61: 288}
        assert (got.clock, got.rate_hz) == ("nominal", 100)
        np.testing.assert_array_equal(got.samples.gyro_rad_s, expected.samples.gyro_rad_s)


def test_a_standard_recording_runs_on_the_chips_clock(tmp_path: Path) -> None:
    stream = joined([cycle(number) for number in range(600)])
    got = decode_capture(saved(tmp_path, stream))
    assert (got.kind, got.variant, got.clock) == ("binary", "standard", "chip")
    assert got.frames == {0x50: 600, 0x51: 600, 0x52: 600}
    np.testing.assert_array_equal(got.samples.t_ns, np.arange(600) * 5_000_000)
    np.testing.assert_allclose(got.samples.acc_g[9], np.array([9, -9, 2048]) * ACC_SCALE_G)
    np.testing.assert_allclose(got.samples.gyro_rad_s[9], np.array([27, 7, -9]) * GYRO_SCALE_RAD_S)
    assert (got.rate_hz, got.lost_samples, got.filled_times, got.filled_acc) == (200, 0, 0, 0)
    assert got.duration_s == pytest.approx(599 * 0.005)
    assert got.chip_start == START


def test_a_timed_combined_recording_runs_on_the_chips_clock(tmp_path: Path) -> None:
    stream = b"".join(timed_combined(number) for number in range(50))
    got = decode_capture(saved(tmp_path, stream))
    assert (got.variant, got.clock, got.frames) == ("combined28", "chip", {0x61: 50})
    np.testing.assert_array_equal(got.samples.t_ns, np.arange(50) * 5_000_000)


@pytest.mark.parametrize(
    "dress",
    [
        lambda data: data.hex().encode(),
        lambda data: data.hex(" ").upper().encode(),
        lambda data: b"\xef\xbb\xbf" + data.hex(" ", 11).replace(" ", "\r\n").encode() + b"\n",
        lambda data: ", ".join(f"0x{byte:02X}" for byte in data).encode(),
    ],
    ids=["plain", "spaced", "lines", "source code"],
)
def test_hex_text(tmp_path: Path, dress: Callable[[bytes], bytes]) -> None:
    stream = joined([cycle(number) for number in range(5)])
    got = decode_capture(saved(tmp_path, dress(stream)))
    assert got.kind == "hex"
    assert got.frames == {0x50: 5, 0x51: 5, 0x52: 5}


def test_a_log_of_a_recording_keeps_the_integers(tmp_path: Path) -> None:
    stream = joined([cycle(number) for number in range(20)])
    samples = decode_capture(saved(tmp_path, stream)).samples
    write_gcsv(tmp_path / "imu.gcsv", samples)
    assert "\n45000000,27,7,-9,9,-9,2048\n" in (tmp_path / "imu.gcsv").read_text()
    np.testing.assert_array_equal(read_gcsv(tmp_path / "imu.gcsv").gyro_rad_s, samples.gyro_rad_s)


def test_the_summary_is_json(tmp_path: Path) -> None:
    path = saved(tmp_path, b"\x00" + joined([cycle(number) for number in range(5)]) + b"\x55\x51")
    summary = json.loads(json.dumps(decode_capture(path).summary()))
    assert summary["frames"] == {"0x50": 5, "0x51": 5, "0x52": 5}
    assert summary["skipped_bytes"] == 3
    assert (summary["duration_s"], summary["rate_hz"]) == (0.02, 200)
    assert summary["chip_start"] == "2024-05-17T23:59:59"


def test_lost_packets_are_filled_and_counted(tmp_path: Path) -> None:
    cycles = [cycle(number) for number in range(40)]
    del cycles[5][0]  # a time
    del cycles[9][1]  # an acceleration
    del cycles[20]  # a whole sample
    reply = RegisterReply((1, 2, 3, 4)).to_bytes()
    got = decode_capture(saved(tmp_path, joined([*cycles[:30], [reply], *cycles[30:]])))
    numbers = np.array([number for number in range(40) if number != 20])
    np.testing.assert_array_equal(got.samples.t_ns, numbers * 5_000_000)
    np.testing.assert_allclose(got.samples.acc_g[:, 0], numbers * ACC_SCALE_G)
    assert (got.filled_times, got.filled_acc, got.lost_samples) == (1, 1, 1)
    assert got.frames[0x5F] == 1


def test_a_rate_without_its_own_acceleration_never_takes_an_older_one(tmp_path: Path) -> None:
    cycles = [cycle(number) for number in range(10)]
    del cycles[9][1]
    got = decode_capture(saved(tmp_path, joined(cycles)))
    assert got.filled_acc == 1
    np.testing.assert_allclose(got.samples.acc_g[9, 0], 8 * ACC_SCALE_G)


def test_a_recording_without_accelerometer_or_clock(tmp_path: Path) -> None:
    stream = b"".join(cycle(number)[2] for number in range(10))
    path = saved(tmp_path, stream)
    got = decode_capture(path)
    assert not got.samples.has_acc
    assert (got.clock, got.rate_hz, got.chip_start) == ("nominal", 200, None)
    assert decode_capture(path, nominal_hz=50).samples.t_ns.tolist()[:2] == [0, 20_000_000]


def test_damaged_stamps_and_a_clock_that_is_set(tmp_path: Path) -> None:
    cycles = [cycle(number) for number in range(60)]
    cycles[10][0] = TimePacket(99, 1, 1, 0, 0, 0, 0).to_bytes()
    cycles[59][0] = TimePacket(99, 1, 1, 0, 0, 0, 0).to_bytes()
    for number in range(30, 59):
        set_clock = clock_of(number, datetime(2026, 1, 1))
        cycles[number][0] = TimePacket(*set_clock).to_bytes()
    got = decode_capture(saved(tmp_path, joined(cycles)))
    np.testing.assert_array_equal(got.samples.t_ns, np.arange(60) * 5_000_000)
    assert (got.clock_jumps, got.filled_times) == (2, 1)


def test_a_sample_sent_twice_counts_once(tmp_path: Path) -> None:
    cycles = [cycle(number) for number in range(20)]
    got = decode_capture(saved(tmp_path, joined([*cycles[:8], cycles[7], *cycles[8:]])))
    np.testing.assert_array_equal(got.samples.t_ns, np.arange(20) * 5_000_000)
    assert got.repeated == 1


def test_a_clock_that_stands_still_is_not_used(tmp_path: Path) -> None:
    still = TimePacket(24, 1, 1, 0, 0, 0, 0).to_bytes()
    stream = joined([[still, *cycle(number)[1:]] for number in range(20)])
    got = decode_capture(saved(tmp_path, stream))
    assert (got.clock, len(got.samples)) == ("nominal", 20)


@steady
@given(
    clocks=st.lists(st.binary(min_size=6, max_size=6).map(lambda b: b + b"\x03\x01"), min_size=1)
)
def test_chip_time_is_that_of_the_packets(clocks: list[bytes]) -> None:
    packets = [TimePacket.from_payload(b"\x55\x50" + clock) for clock in clocks]
    stamps = chip_milliseconds(np.frombuffer(b"".join(clocks), np.uint8).reshape(-1, 8))
    assert stamps.tolist() == [packet.chip_ms for packet in packets]


@steady
@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.booleans()), min_size=1))
def test_times_from_any_stamps_increase(stamps: list[tuple[int, bool]]) -> None:
    chip_ms = np.array([stamp for stamp, _ in stamps], np.int64)
    known = np.array([is_known for _, is_known in stamps])
    times = times_from_chip(chip_ms, known)
    if times is not None:
        assert times.t_ns[0] == 0
        assert (np.diff(times.t_ns) > 0).all()
        assert len(times.t_ns) == times.kept.sum()


def oracle(stream: bytes) -> list[tuple[tuple[float, ...], tuple[float, ...] | None, int | None]]:
    """Samples as one would put them together packet by packet."""
    parser = Parser("standard")
    rows: list[tuple[tuple[float, ...], tuple[float, ...] | None, int | None]] = []
    acc: tuple[float, ...] | None = None
    stamp: int | None = None
    for packet in parser.feed(stream) + parser.finish():
        if isinstance(packet, TimePacket):
            stamp = packet.chip_ms
        elif isinstance(packet, AccPacket):
            acc = packet.acc_g
        elif isinstance(packet, GyroPacket):
            rows.append((packet.gyro_rad_s, acc, stamp))
            acc = stamp = None
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_bulk_samples_are_those_of_the_parser_on_damaged_streams(seed: int) -> None:
    random = Random(seed)
    data = bytearray(joined([cycle(number) for number in range(400)]))
    for _ in range(60):
        at = random.randrange(len(data))
        kind = random.randrange(3)
        if kind == 0:
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            del data[at : at + random.randrange(1, 50)]
        else:
            data[at:at] = random.randbytes(random.randrange(1, 30))
    stream = bytes(data)
    parser = Parser("standard")
    parser.feed(stream)
    parser.finish()
    got = decode_raw("stream", RawCapture("binary", stream), "standard")
    rows = oracle(stream)
    assert got.frames == parser.stats.frames
    assert got.bad_checksums == parser.stats.bad_checksums > 0
    assert got.skipped_bytes == parser.stats.skipped_bytes
    assert len(got.samples) == len(rows)
    gyro = np.array([row[0] for row in rows])
    np.testing.assert_allclose(got.samples.gyro_rad_s, gyro, rtol=1e-12)
    has_acc = np.array([row[1] is not None for row in rows])
    assert got.filled_acc == (~has_acc).sum()
    acc = np.array([row[1] for row in rows if row[1] is not None])
    np.testing.assert_allclose(got.samples.acc_g[has_acc], acc)
    timed = np.array([row[2] is not None for row in rows])
    stamps = np.array([row[2] for row in rows if row[2] is not None])
    t_ms = got.samples.t_ns[timed] / 1e6
    np.testing.assert_allclose(t_ms - t_ms[0], stamps - stamps[0])


def bursts(rate_hz: float, number: int, lost_at: int, lost: int, seed: int) -> NDArray[np.float64]:
    """Arrivals of a radio link: four samples a packet, each up to 30 ms late, one stretch lost."""
    rng = np.random.default_rng(seed)
    taken_s = (np.arange(number) + lost * (np.arange(number) >= lost_at)) / rate_hz
    arrival_s = np.repeat(taken_s[3::4], 4) + np.repeat(rng.uniform(0.01, 0.04, number // 4), 4)
    return np.asarray(np.maximum.accumulate(arrival_s))


@pytest.mark.parametrize("lost", [0, 20, 200])
@pytest.mark.parametrize("rate_hz", [50.0, 100.0, 200.0])
def test_arrivals_give_an_even_clock(rate_hz: float, lost: int) -> None:
    arrivals = bursts(rate_hz, 1200, 600, lost, seed=int(rate_hz) + lost)
    times = times_from_arrivals(arrivals)
    assert times is not None
    assert times.rate_hz == pytest.approx(rate_hz, rel=2e-3)
    assert abs(times.lost - lost) <= 0.02 * rate_hz
    late_s = arrivals - times.t_ns / 1e9
    # What is left is how late packets are, and the three samples a packet waits for its fourth.
    assert np.ptp(late_s) < 0.04 + 4 / rate_hz + 0.02


def test_a_sensor_clock_one_per_cent_off_is_followed() -> None:
    arrivals = bursts(101.0, 6000, 6000, 0, seed=1)
    times = times_from_arrivals(arrivals)
    assert times is not None
    assert times.rate_hz == pytest.approx(101, abs=0.05)
    assert times.lost == 0


@pytest.mark.parametrize("arrivals", [[1.0], [1.0] * 8])
def test_too_few_arrivals_tell_no_rate(arrivals: list[float]) -> None:
    assert times_from_arrivals(np.array(arrivals)) is None


def test_json_lines_without_a_header_and_with_chip_time(tmp_path: Path) -> None:
    packets = [(0.1 * number, timed_combined(number)) for number in range(10)]
    got = decode_capture(saved(tmp_path, json_lines(packets)))
    assert (got.kind, got.clock, got.rate_hz) == ("jsonl", "chip", 200)


GOOD_LINE = '{"hex":"' + combined(1).hex() * 2 + '","t":1.0}\n'
BAD = {
    "empty": (b"", "size: found 0 bytes"),
    "other bytes": (bytes(range(256)) * 8, "content: found no WT901 frame in 2048 bytes"),
    "part of a frame": (b"\x55\x51\x00\x00", "no WT901 frame in 4 bytes"),
    "text": (b"time,x,y\n1,2,3\n", "no WT901 frame"),
    "digits": (b"12 34 56", "no WT901 frame in 3 bytes"),
    "cut hex": (b"55 51 0", "hex digits: found 5 hex digits, expected two digits a byte"),
    "x in hex": (b"55 5x 51 00 00", "hex digits: found other characters"),
    "no rates": (AccPacket(1, 2, 3, 4).to_bytes() * 9, "frames of type 0x52: found none"),
    "header only": (b'{"format":"wt901-recording"}\n', "lines: found no packets"),
    "cut line": ((GOOD_LINE + GOOD_LINE[:30]).encode(), "line 2: found .*was the file cut"),
    "no hex": ((GOOD_LINE + '{"t":2.0}\n').encode(), "line 2: found no string named hex"),
    "no object": ((GOOD_LINE + "[1]\n").encode(), "line 2: found no string named hex"),
    "odd hex": ((GOOD_LINE + '{"hex":"556","t":2}').encode(), "line 2, hex: found 3 hex digits"),
    "bad hex": ((GOOD_LINE + '{"hex":"55gg","t":2}').encode(), "line 2, hex: found other char"),
    "no time": ((GOOD_LINE + '{"hex":"5561"}\n').encode(), "line 2, t: found None"),
    "nan time": ((GOOD_LINE + '{"hex":"5561","t":NaN}').encode(), "line 2, t: found nan"),
    "true time": ((GOOD_LINE + '{"hex":"5561","t":true}').encode(), "line 2, t: found True"),
    "huge time": ((GOOD_LINE + '{"hex":"5561","t":1e300}').encode(), "line 2, t: found 1e[+]300"),
    "time back": ((GOOD_LINE + '{"hex":"5561","t":0.5}').encode(), "line 2, t: found 0.5 s after"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_files_that_are_no_capture(tmp_path: Path, content: bytes, message: str) -> None:
    path = saved(tmp_path, content)
    with pytest.raises(LogFormatError, match=message) as caught:
        decode_capture(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


RECORDINGS = {
    "standard": joined([cycle(number) for number in range(6)]),
    "combined20": b"".join(combined(number) for number in range(6)),
    "combined28": b"".join(timed_combined(number) for number in range(6)),
    "hex": joined([cycle(number) for number in range(4)]).hex(" ").encode(),
    "jsonl": json_lines([(0.01 * number, combined(number)) for number in range(9)]),
}


@pytest.mark.parametrize("content", RECORDINGS.values(), ids=RECORDINGS)
@steady
@given(data=st.data())
def test_any_damage_gives_samples_or_the_one_error(
    tmp_path: Path, content: bytes, data: st.DataObject
) -> None:
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    damaged = content[:start] + data.draw(st.binary(max_size=30)) + content[end:]
    try:
        got = decode_capture(saved(tmp_path, damaged))
    except LogFormatError:
        return
    assert len(got.samples) > 0
    assert (np.diff(got.samples.t_ns) > 0).all()
    assert np.isfinite(got.samples.gyro_rad_s).all()


@steady
@given(st.lists(st.floats(0, 4e9), min_size=1, max_size=60).map(sorted))
def test_times_from_any_arrivals_increase(arrivals: list[float]) -> None:
    times = times_from_arrivals(np.array(arrivals))
    if times is not None:
        assert (np.diff(times.t_ns) > 0).all()


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode_capture(tmp_path / "none.bin")


def test_the_benchmark_measures_a_sound_stream() -> None:
    stream = standard_stream(3300, seed=3)
    got = decode_raw("benchmark", RawCapture("binary", stream), "standard")
    assert got.frames == {0x50: 100, 0x51: 100, 0x52: 100}
    assert (got.rate_hz, got.skipped_bytes, got.lost_samples) == (200, 0, 0)
    assert decode_throughput(33_000) > 0
    assert parser_throughput(3_300) > 0
