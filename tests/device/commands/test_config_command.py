from __future__ import annotations

from pathlib import Path

import pytest

from device import config as config_module
from device.cli import main

EXAMPLE = Path(__file__).resolve().parents[3] / "deploy" / "config.example.yaml"


def test_the_example_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(EXAMPLE)]) == 0
    out = capsys.readouterr().out
    assert out == (
        f"{EXAMPLE}: right: camera picamera2, motion sensor serial, button on GPIO 17,"
        " light on GPIO 27, no push, state in /var/lib/stillpi\n"
    )


def test_every_mistake_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(
        "camera: {kind: twin}\nimu:\n  kind: none\nshuter:\n  kind: gpio\n"
        "led:\n  pin: 40\ndelivery:\n  push:\n    host: -x\n"
    )
    assert main(["config", "check", str(file)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    starts = [f"{file}:4: shuter: found ", f"{file}:7: led.pin: found 40, expected a GPIO number"]
    starts += [f"{file}:9: delivery.push.user: found nothing, expected a user name on the server"]
    starts += [f"{file}:10: delivery.push.host: found '-x', expected a host name or an address"]
    lines = printed.err.splitlines()
    assert len(lines) == 4
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(f"stillpi: {start}")
    assert "expected shutter? (known: camera, imu, " in lines[0]


@pytest.mark.parametrize("there", [True, False])
def test_the_machines_own(
    there: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "stillpi.yaml"
    monkeypatch.setattr(config_module, "DEFAULT_PATH", file)
    if there:
        file.write_text("camera: {kind: twin}\nimu: {kind: emulator}\n")
    assert main(["config", "check"]) == (0 if there else 2)
    printed = capsys.readouterr()
    if there:
        assert printed.out.startswith(f"{file}: right: camera twin, motion sensor emulator, no ")
    else:
        assert printed.err.startswith(f"stillpi: {file}: file: found nothing, expected ")
