"""The `imu` commands, run as a user does, against the emulated sensor."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.__main__ import main
from firmware_bridge.emulator import (
    EmulatorErrors,
    FakeSmBus,
    PtyEmulator,
    Wt901Emulator,
    hand_shake,
)
from firmware_bridge.errors import LinkError
from firmware_bridge.gcsv import read_gcsv
from firmware_bridge.openers import I2cOpener, SerialOpener
from firmware_bridge.provision import ProvisionPlan
from firmware_bridge.reader import ImuReader
from firmware_bridge.reader_cost import emulator_process, reader_cpu_share
from firmware_bridge.reader_stats import ReaderStats
from firmware_bridge.recording import Recorder, wait_for_sensor
from firmware_bridge.samples import ImuSamples
from firmware_bridge.watching import state, status_line, verdicts

GOOD = ReaderStats(
    alive=True,
    connected=True,
    link="/dev/imu at 115200 baud",
    last_error=None,
    reconnects=0,
    samples=1000,
    rate_hz=200.0,
    age_s=0.002,
    losses=0,
    incomplete_cycles=0,
    checksum_errors=0,
    skipped_bytes=0,
    in_dead_band=False,
    zero_runs=0,
    longest_zero_run=0,
    clock_source="chip",
    latency_p50_s=0.002,
    latency_p99_s=0.004,
    clock_uncertainty_s=0.0004,
    drift_ppm=35.0,
    clock_jumps=0,
)


def provisioned(seed: int = 0) -> Wt901Emulator:
    return Wt901Emulator(hand_shake(), seed=seed, registers=ProvisionPlan().settings)


def test_watch_shows_numbers_and_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--emulate", "--duration", "0.5"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "Hz | gyro" in shown[0]
    assert shown[-1] == "The sensor is well: rate, time stamps and connection are as wanted."


def test_record_then_decode_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, raw, decoded = tmp_path / "imu.gcsv", tmp_path / "raw.bin", tmp_path / "again.gcsv"
    options = ["--duration", "0.6", "-o", str(log), "--raw", str(raw)]
    assert main(["record", "--emulate", *options]) == 0
    capsys.readouterr()
    live = read_gcsv(log)
    assert len(live) == pytest.approx(120, abs=4)

    assert main(["decode", str(raw), "-o", str(decoded), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["variant"] == "standard"
    assert summary["rate_hz"] == 200.0
    assert summary["bad_checksums"] == 0
    assert summary["frames"]["0x52"] >= len(live)
    assert summary["duration_s"] == pytest.approx(summary["samples"] / 200.0, abs=0.02)
    again = read_gcsv(decoded)
    first = np.flatnonzero((again.gyro_rad_s == live.gyro_rad_s[0]).all(axis=1))[0]
    assert np.array_equal(again.gyro_rad_s[first : first + len(live)], live.gyro_rad_s)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.gcsv", "imu.gcsv", "raw.bin"]

    assert main(["decode", str(raw), "-o", str(decoded)]) == 0
    assert "variant standard" in capsys.readouterr().out


def test_decode_of_the_real_ble_capture(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = shared_data / "imu_logs" / "witmotion" / "wt901ble67_100hz_raw.jsonl"
    assert main(["decode", str(capture), "-o", str(tmp_path / "imu.gcsv"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["frames"] == {"0x61": 288}
    assert summary["variant"] == "combined20"
    assert len(read_gcsv(tmp_path / "imu.gcsv")) == 288


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["watch", "--port", "/nowhere/imu"], "/nowhere/imu: cannot open the serial port"),
        (["record", "--i2c", "250", "--duration", "1"], "/dev/i2c-250"),
        (["provision", "--emulate", "--rate", "150"], "rate: found 150 Hz, expected one of"),
        (["provision", "--emulate", "--new-baud", "9600"], "expected at least 73333"),
        (["decode", "/nowhere/capture.bin"], "/nowhere/capture.bin"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("firmware_bridge.recording.FIRST_SAMPLE_S", 0.3)
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["watch", "--duration", "-1"],
        ["watch", "--duration", "soon"],
        ["watch", "--baud", "fast"],
        ["watch", "--i2c", "one"],
        ["watch", "--i2c", "1", "--emulate"],
    ],
)
def test_impossible_options_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_recording_can_be_stopped_and_is_kept() -> None:
    stop = threading.Event()

    def stop_soon(elapsed_s: float) -> None:
        if elapsed_s > 0.3:
            stop.set()

    with PtyEmulator(provisioned()) as emulated, ImuReader(SerialOpener(emulated.port)) as reader:
        wait_for_sensor(reader)
        samples = Recorder(reader, stop).run(None, stop_soon)
    assert len(samples) > 40
    assert set(np.round(np.diff(samples.t_ns) / 1e6).tolist()) == {5.0}


def test_a_long_recording_is_collected_in_parts_without_seam(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("firmware_bridge.recording.COLLECT_EVERY_S", 0.1)
    monkeypatch.setattr("firmware_bridge.recording.SETTLED_S", 0.05)
    with PtyEmulator(provisioned()) as emulated, ImuReader(SerialOpener(emulated.port)) as reader:
        wait_for_sensor(reader)
        samples = Recorder(reader).run(1.0)
    assert len(samples) == pytest.approx(200, abs=4)
    assert np.diff(samples.t_ns).min() > 2_500_000
    assert np.diff(samples.t_ns).max() < 7_500_000


def test_a_new_baud_is_found_when_the_link_is_opened_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("firmware_bridge.openers.LIKELY_BAUDS", (115200, 9600))
    port = tmp_path / "imu"
    opener = SerialOpener(str(port))
    with PtyEmulator(provisioned(), link=port):
        assert opener.baud() == 115200
    with PtyEmulator(Wt901Emulator(hand_shake()), link=port):
        assert opener.baud() == 9600
        link = opener()
        assert link.name == f"{port} at 9600 baud"
        link.close()


def test_an_i2c_opener_opens_a_new_bus_every_time() -> None:
    opened: list[int] = []

    def open_bus(number: int) -> FakeSmBus:
        opened.append(number)
        return FakeSmBus(provisioned())

    opener = I2cOpener(3, open_bus=open_bus)
    opener().close()
    link = opener.at(9600)
    assert link.name == "/dev/i2c-3 address 0x50"
    assert opener.baud() == 0
    assert opened == [3, 3]


def test_the_reader_works_over_i2c() -> None:
    emulator = Wt901Emulator(
        hand_shake(), errors=EmulatorErrors(), registers=ProvisionPlan().settings
    )
    with ImuReader(I2cOpener(1, open_bus=lambda number: FakeSmBus(emulator))) as reader:
        assert reader.wait_for_samples(60, 10.0)
        stats = reader.stats()
    assert stats.connected
    assert stats.clock_uncertainty_s < 0.005
    assert 120.0 < stats.rate_hz < 205.0  # a loaded machine looks too late now and then
    assert stats.link == "/dev/i2c-1 address 0x50"


def test_a_sensor_that_never_speaks_is_a_link_error(tmp_path: Path) -> None:
    with (
        ImuReader(SerialOpener(str(tmp_path / "imu"), 9600)) as reader,
        pytest.raises(LinkError, match="cannot open the serial port: No such file"),
    ):
        wait_for_sensor(reader, 0.1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "The sensor is well"),
        ({"connected": False, "last_error": "unplugged"}, "not connected: unplugged"),
        ({"zero_runs": 2}, "stuck at exactly zero 2 times"),
        ({"rate_hz": 10.0}, "10.0 samples a second are too few"),
        ({"clock_source": "counted"}, "no time stamps"),
        ({"losses": 3, "checksum_errors": 4}, "3 of 1003 samples were lost and 4 frames"),
        ({"reconnects": 1, "last_error": "gone"}, "lost 1 times: gone"),
        ({"clock_uncertainty_s": 0.005}, "uncertain by 5.0 ms"),
        ({"clock_uncertainty_s": float("inf")}, "uncertain by - ms"),
    ],
)
def test_verdicts_say_what_is_wrong(change: dict[str, object], expected: str) -> None:
    lines = verdicts(replace(GOOD, **change))  # type: ignore[arg-type]
    assert len(lines) == 1
    assert expected in lines[0]


def test_the_state_names_the_trap() -> None:
    assert state(GOOD) == "/dev/imu at 115200 baud"
    assert "DEAD BAND" in state(replace(GOOD, in_dead_band=True))
    assert state(replace(GOOD, connected=False)) == "not connected: waiting"


def test_the_line_of_numbers_without_samples() -> None:
    nothing = replace(GOOD, latency_p50_s=float("nan"), latency_p99_s=float("nan"))
    assert status_line(nothing, ImuSamples.empty()) == (
        " 200.0 Hz | gyro no samples | late -/- ms | clock +-0.4 ms +35 ppm | lost 0 | damaged 0"
    )


def test_the_emulator_runs_as_a_program() -> None:
    with emulator_process() as port, ImuReader(SerialOpener(port)) as reader:
        assert reader.wait_for_samples(20, 20.0)


def test_the_cost_of_reading_can_be_measured() -> None:
    assert 0.0 < reader_cpu_share(0.3) < 1.0  # what it is, the benchmark says
