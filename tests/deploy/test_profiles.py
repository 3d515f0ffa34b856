"""The camera profiles and the program's table of sensors say the same, number by number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from device.capture.sensors import SENSORS

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "profiles"
FILES = sorted(FOLDER.glob("*.yaml"))
MODES = {
    f"{model}-{mode.width}x{mode.height}.yaml": (sensor, mode)
    for model, sensor in SENSORS.items()
    for mode in sensor.modes
}


def profile(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return read


def test_every_mode_has_its_profile_and_the_other_way() -> None:
    assert {path.name for path in FILES} == set(MODES)


@pytest.mark.parametrize("name", MODES)
def test_a_profile_is_what_the_program_takes(name: str) -> None:
    sensor, mode = MODES[name]
    read = profile(name)
    sources = read.pop("sources")
    focal_px, skew_ms = read.pop("focal_px"), read.pop("skew_ms")
    assert read == {
        "sensor": sensor.model,
        "mode": list(mode.size),
        "array": list(sensor.full_size),
        "pitch_um": sensor.pitch_um,
        "line_time_us": pytest.approx(mode.line_time_ns / 1000, abs=1e-9),
        "by_kernel": mode.by_kernel,
        "global_shutter": sensor.global_shutter,
        "integration_lines": sensor.integration_lines,
        "exposure_offset_us": pytest.approx(sensor.exposure_offset_ns / 1000),
        "lens_focal_mm": sensor.lens_focal_mm,
    }
    rows = 0 if sensor.global_shutter else mode.height
    assert skew_ms == pytest.approx(rows * mode.line_time_ns * 1e-6, abs=0.05)
    if focal_px is None:
        assert sensor.focal_px() is None
    else:
        assert focal_px == pytest.approx(sensor.focal_px(), abs=0.5)
    driver = sensor.model.removesuffix("_wide")
    assert f"drivers/media/i2c/{driver}.c" in sources["line_time_us"]
    measured = {"pitch_um", "line_time_us", "integration_lines", "exposure_offset_us"}
    assert set(sources) == measured | {"lens_focal_mm", "focal_px", "skew_ms"}
    assert all(sources.values())
