"""The benchmark on a small picture: every row is there, measured, and the ratios are theirs."""

from __future__ import annotations

import json
import time

import pytest

from device.benchmark import COMPARED_NETWORKS, Row, driver, restoration
from device.benchmark.network_speed import (
    Contestant,
    compared,
    in_turns,
    measure_ratios,
    over_photo,
)
from device.benchmark.restoration import COMPARED, processor_time, whole_program
from device.cli import main


def test_the_table_without_a_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(restoration, "WIDTH", 320)
    monkeypatch.setattr(restoration, "HEIGHT", 240)
    monkeypatch.setattr(restoration, "FOCAL_PX", 300.0)
    monkeypatch.setattr(driver, "READER_SECONDS", 0.3)
    assert main(["bench", "--model", "none", "--threads", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in found["rows"]}
    for label in restoration.EXPOSURES_S:
        assert rows[f"12 MP, {label}: network stage"]["value"] == 0.0
        assert "the filter alone" in rows[whole_program(label)]["note"]
        assert rows[f"12 MP, {label}: filter stage"]["value"] > 0.0
        assert rows[f"12 MP, {label}: filter stage"]["value"] < rows[whole_program(label)]["value"]
        assert rows[f"12 MP, {label}: peak resident memory"]["value"] > 20.0
    assert not any("deepgyro" in name for name in rows)
    assert rows["kernel field for 320x240"]["unit"] == "ms"


def test_in_turns_a_tile_is_timed_by_the_clock_and_by_the_processor() -> None:
    def wait() -> None:
        time.sleep(0.02)

    def compute() -> None:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.01:
            pass

    contestants = [Contestant("waits", "", wait, 2), Contestant("computes", "", compute, 1)]
    waiting, computing = in_turns(contestants, threads=2, rounds=3)
    # Two wait at a time, so each takes half of the 20 ms.
    assert 0.009 < waiting.wall_s < 0.1
    assert waiting.processor_s < 0.005
    assert computing.processor_s == pytest.approx(0.01, rel=0.5)


def test_the_compared_networks_run_on_tiles_of_any_size() -> None:
    contestants = list(compared(32))
    assert [contestant.name for contestant in contestants] == ["deepgyro", "seed_unet"]
    assert "31.0 M parameters, 736 kMAC a pixel" in contestants[0].note
    for contestant in contestants:
        (restored,) = contestant.run()  # type: ignore[misc]
        assert restored.shape == (1, 3, 32, 32)


def test_ratios_are_of_the_whole_program() -> None:
    rows = [
        Row(whole_program(COMPARED), 5.0, "s"),
        Row(processor_time(COMPARED), 8.0, "s"),
        Row(over_photo("deepgyro"), 100.0, "s"),
        Row(over_photo("deepgyro", "processor time"), 200.0, "s"),
    ]
    assert [(row.value, row.note) for row in measure_ratios(rows)] == [
        (20.0, "faster, by the clock"),
        (25.0, "faster, processor time"),
    ]
    assert list(measure_ratios(rows[:2])) == []


def test_every_compared_network_is_shipped() -> None:
    assert {path.name for path in COMPARED_NETWORKS.iterdir()} == {
        "deepgyro.onnx",
        "seed_unet.onnx",
    }
